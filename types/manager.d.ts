// The cluster as an object, and the ways to make one.

import type { ClusterConfig } from './config';
import type { LoadBalancingConfig, LoadBalancingStrategy } from './dispatch';
import type { ClusterEventEmitter } from './events';
import type { ClusterHealth, ClusterMetrics, MetricsRegistry } from './metrics';
import type { ErrorHandlingConfig, MonitoringConfig } from './observability';
import type { AutoScalingConfig } from './scaling';
import type { SecurityConfig } from './security';
import type { IPCManager } from './services';
import type { HealthCheckConfig } from './supervision';
import type { WorkerInfo } from './worker';

export const ClusterState: {
  readonly INITIALIZING: 'initializing';
  readonly STARTING: 'starting';
  readonly RUNNING: 'running';
  readonly SCALING: 'scaling';
  readonly STOPPING: 'stopping';
  readonly STOPPED: 'stopped';
  readonly ERROR: 'error';
};
export type ClusterState = (typeof ClusterState)[keyof typeof ClusterState];

/** Milliseconds, but for `MAX_RESTARTS`. */
export const DEFAULT_VALUES: {
  readonly WORKER_TIMEOUT: 60000;
  readonly HEALTH_CHECK_INTERVAL: 30000;
  readonly HEALTH_CHECK_TIMEOUT: 10000;
  readonly RESTART_DELAY: 2000;
  readonly MAX_RESTARTS: 3;
  readonly GRACEFUL_SHUTDOWN_TIMEOUT: 30000;
  readonly IPC_TIMEOUT: 30000;
  readonly MEMORY_CHECK_INTERVAL: 30000;
  readonly METRICS_INTERVAL: 60000;
};

/** Runs a cluster. In a worker it relays the primary's events to whoever listens. */
export class ClusterManager {
  /** `basePort` is the port that all workers share, given to them as PORT. */
  constructor(config?: ClusterConfig, basePort?: number);

  /** In a worker 'running', and what follows from the events that its program listens to. */
  readonly state: ClusterState;

  start(): Promise<void>;
  /** @param graceful true */
  stop(graceful?: boolean): Promise<void>;
  /** Rolling: a new worker is ready before the old one leaves. */
  restart(): Promise<void>;

  /**
   * One worker more than before; resolves when it is ready.
   *
   * @param workerId the slot that it gets, `'0'` to `'1023'`; one that has a worker rejects with `INVALID_ARGUMENT`.
   *   Without it the lowest that is vacant
   */
  spawnWorker(workerId?: string): Promise<WorkerInfo>;
  /** One worker fewer than before. @param graceful true */
  stopWorker(workerId: string, graceful?: boolean): Promise<void>;
  /** As many workers as before. */
  restartWorker(workerId: string): Promise<void>;

  scale(workerCount: number): Promise<void>;
  /** @param count 1 */
  scaleUp(count?: number): Promise<void>;
  /** @param count 1 */
  scaleDown(count?: number): Promise<void>;

  getWorkers(): WorkerInfo[];
  getWorkerById(workerId: string): WorkerInfo | undefined;
  /** The program's own metrics. */
  readonly metrics: MetricsRegistry;
  getMetrics(): Promise<ClusterMetrics>;
  getHealth(): Promise<ClusterHealth>;

  updateConfig(config: Partial<ClusterConfig>): Promise<void>;
  getConfig(): ClusterConfig;
  setIPCManager(ipcManager: IPCManager): void;
}
export interface ClusterManager extends ClusterEventEmitter {}

export { ClusterManager as BunClusterManager, ClusterManager as RobustClusterManager };

export type EnvironmentName = 'development' | 'production' | 'test';

export class ClusterFactory {
  static getInstance(): ClusterFactory;

  create(config: ClusterConfig): ClusterManager;
  createWithDefaults(): ClusterManager;
  createForEnvironment(env: EnvironmentName): ClusterManager;

  /** All faults, one sentence each. */
  validateConfig(config: ClusterConfig): { valid: boolean; errors: string[] };
  getRecommendedConfig(serverType: 'api' | 'web' | 'microservice' | 'worker'): ClusterConfig;
  /** `override` wins, key by key and section by section. */
  mergeConfigs(base: ClusterConfig, override: Partial<ClusterConfig>): ClusterConfig;

  getIntelligentDefaults(): ClusterConfig;
  getEnvironmentConfig(env: EnvironmentName): ClusterConfig;
}

/** Builds a configuration step by step; a later step wins over an earlier one. */
export interface ClusterBuilder {
  withWorkers(count: number | 'auto' | 'max'): ClusterBuilder;
  withHealthCheck(config: Partial<HealthCheckConfig>): ClusterBuilder;
  withAutoScaling(config: Partial<AutoScalingConfig>): ClusterBuilder;
  withLoadBalancing(
    strategy: LoadBalancingStrategy | (string & {}),
    options?: Omit<LoadBalancingConfig, 'strategy'>,
  ): ClusterBuilder;
  withMonitoring(config: Partial<MonitoringConfig>): ClusterBuilder;
  withSecurity(config: Partial<SecurityConfig>): ClusterBuilder;
  withResilience(config: Partial<ErrorHandlingConfig>): ClusterBuilder;
  enableDevelopmentMode(): ClusterBuilder;
  enableProductionMode(): ClusterBuilder;
  build(): ClusterConfig;
  create(): ClusterManager;
}

export function buildCluster(): ClusterBuilder;
