// The cluster as an object, and the ways to create one.

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

/** In milliseconds, except `MAX_RESTARTS`. */
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

/** Runs a cluster. In a worker it emits the primary's events. */
export class ClusterManager {
  /** @param basePort the port that all workers share, passed to them as PORT */
  constructor(config?: ClusterConfig, basePort?: number);

  /** In a worker 'running', then derived from the events that its program listens to. */
  readonly state: ClusterState;

  start(): Promise<void>;
  /** @param graceful true */
  stop(graceful?: boolean): Promise<void>;
  /** A rolling restart: each new worker is ready before the old one drains. */
  restart(): Promise<void>;

  /**
   * Adds one worker; resolves when it is ready.
   *
   * @param workerId the slot of the new worker, `'0'` to `'1023'`; rejects with `INVALID_ARGUMENT` if the slot has a
   * worker. Default: the lowest vacant slot
   */
  spawnWorker(workerId?: string): Promise<WorkerInfo>;
  /** Removes one worker. @param graceful true */
  stopWorker(workerId: string, graceful?: boolean): Promise<void>;
  /** Replaces one worker: the new one is ready before the old one drains. */
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

  /** See `ClusteredApp.updateConfig`. */
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
  /** `override` takes precedence, key by key within each section. */
  mergeConfigs(base: ClusterConfig, override: Partial<ClusterConfig>): ClusterConfig;

  getIntelligentDefaults(): ClusterConfig;
  getEnvironmentConfig(env: EnvironmentName): ClusterConfig;
}

/** Builds a configuration step by step; a later step overrides an earlier one. */
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
