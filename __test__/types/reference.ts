// The API reference: each documented class and interface, held against the types that are exported.

import {
  BunClusterManager,
  BunIPCManager,
  ClusterError,
  ClusterFactory,
  ClusterState,
  ConfigurationError,
  DEFAULT_VALUES,
  HealthCheckError,
  MemoryManager,
  ProcessMonitor,
  ResourceExhaustionError,
  RobustClusterManager,
  WorkerCommunicationError,
  WorkerStartupError,
  WorkerState,
} from 'drover';
import { buildCluster } from 'drover/cluster';
import type { EventEmitter } from 'node:events';
import type {
  BunClusterMetrics,
  BunWorker,
  ClusterBuilder,
  ClusterConfig,
  ClusterEvents,
  ClusterHealth,
  ClusterMetrics,
  HealthCheckConfig,
  IPCMessage,
  IPCResponse,
  MemoryConfig,
  MemoryLimitResult,
  MemoryOptimizationResult,
  MemoryStats,
  MonitoringConfig,
  ProcessStats,
  ResilienceConfig,
  SecurityConfig,
  SystemStats,
  WorkerMemoryStats,
} from 'drover';

const cluster = buildCluster()
  .withWorkers('auto')
  .withHealthCheck({ interval: 30000, timeout: 10000 })
  .withAutoScaling({
    enabled: true,
    minWorkers: 2,
    maxWorkers: 8,
  })
  .withSecurity({ isolateWorkers: true })
  .enableProductionMode()
  .create();

interface DocumentedClusterManager extends EventEmitter {
  start(): Promise<void>;
  stop(graceful?: boolean): Promise<void>;
  restart(): Promise<void>;
  spawnWorker(workerId?: string): Promise<BunWorker>;
  stopWorker(workerId: string, graceful?: boolean): Promise<void>;
  restartWorker(workerId: string): Promise<void>;
  scale(targetWorkerCount: number): Promise<void>;
  scaleUp(count?: number): Promise<void>;
  scaleDown(count?: number): Promise<void>;
  getWorkers(): BunWorker[];
  getWorkerById(workerId: string): BunWorker | undefined;
  getMetrics(): Promise<BunClusterMetrics>;
  getHealth(): Promise<ClusterHealth>;
  updateConfig(config: Partial<ClusterConfig>): Promise<void>;
  getConfig(): ClusterConfig;
  setIPCManager(ipcManager: BunIPCManager): void;
}

declare const config: ClusterConfig;
const manager: DocumentedClusterManager = new BunClusterManager(config, 3000);
const robust: RobustClusterManager = cluster;

interface DocumentedClusterEvents {
  'worker:started': (data: { workerId: string; port: number; timestamp: number }) => void;
  'worker:stopped': (data: { workerId: string; timestamp: number }) => void;
  'worker:error': (data: { workerId: string; error: Error; timestamp: number }) => void;
  'worker:restart': (data: { workerId: string; reason: string; timestamp: number }) => void;
  'cluster:started': (data: { workerCount: number; timestamp: number }) => void;
  'cluster:stopped': (data: { timestamp: number }) => void;
  'cluster:scaled': (data: { oldCount: number; newCount: number; timestamp: number }) => void;
  'health:changed': (data: { status: string; details: any; timestamp: number }) => void;
  'metrics:updated': (data: { metrics: ClusterMetrics; timestamp: number }) => void;
}

declare const listeners: DocumentedClusterEvents;
for (const event of Object.keys(listeners) as (keyof DocumentedClusterEvents)[]) {
  const listener: Pick<ClusterEvents, typeof event>[typeof event] = listeners[event];
  cluster.on(event, listener);
}
cluster.on('worker:exit', ({ workerId, exitCode, signal }) => console.log(workerId, exitCode, signal === 'SIGKILL'));

interface DocumentedIPCManager extends EventEmitter {
  registerWorker(workerId: string, subprocess: any): void;
  unregisterWorker(workerId: string): void;
  sendToWorker(workerId: string, type: string, data: any): Promise<any>;
  broadcastToWorkers(type: string, data: any): Promise<IPCResponse[]>;
  sendToRandomWorker(type: string, data: any): Promise<any>;
  sendToMaster(type: string, data: any): Promise<any>;
  registerHandler(type: string, handler: (message: IPCMessage) => Promise<any>): void;
  unregisterHandler(type: string): void;
  getWorkerStats(): { total: number; alive: number; dead: number };
  destroy(): void;
}

const ipc: DocumentedIPCManager = new BunIPCManager();

interface DocumentedMemoryManager extends EventEmitter {
  getSystemMemoryStats(): Promise<MemoryStats>;
  getWorkerMemoryStats(workerId: string, pid: number): Promise<WorkerMemoryStats>;
  checkMemoryLimits(workerId: string, currentMemory: number): MemoryLimitResult;
  detectMemoryLeak(workerId: string, currentMemory: number): boolean;
  suggestGarbageCollection(workerId: string): boolean;
  calculateOptimalWorkerCount(systemStats?: MemoryStats): Promise<number>;
  getMemoryOptimizationRecommendations(): Promise<MemoryOptimizationResult>;
  startMonitoring(interval?: number): void;
  stopMonitoring(): void;
  destroy(): void;
}

declare const memoryConfig: MemoryConfig;
const memory: DocumentedMemoryManager = new MemoryManager(memoryConfig);

interface DocumentedProcessMonitor extends EventEmitter {
  getSystemStats(): Promise<SystemStats>;
  getProcessStats(pid: number): Promise<ProcessStats>;
  startMonitoring(interval?: number): void;
  stopMonitoring(): void;
  destroy(): void;
}

const monitor: DocumentedProcessMonitor = new ProcessMonitor();

interface DocumentedClusterFactory {
  create(config: ClusterConfig): RobustClusterManager;
  createWithDefaults(): RobustClusterManager;
  createForEnvironment(env: 'development' | 'production' | 'test'): RobustClusterManager;
  validateConfig(config: ClusterConfig): { valid: boolean; errors: string[] };
  getRecommendedConfig(serverType: 'api' | 'web' | 'microservice' | 'worker'): ClusterConfig;
  mergeConfigs(base: ClusterConfig, override: Partial<ClusterConfig>): ClusterConfig;
  getIntelligentDefaults(): ClusterConfig;
  getEnvironmentConfig(env: 'development' | 'production' | 'test'): ClusterConfig;
}

const factory: DocumentedClusterFactory = ClusterFactory.getInstance();

interface DocumentedClusterBuilder {
  withWorkers(count: number | 'auto'): ClusterBuilder;
  withHealthCheck(config: Partial<HealthCheckConfig>): ClusterBuilder;
  withLoadBalancing(strategy: string, options?: any): ClusterBuilder;
  withMonitoring(config: Partial<MonitoringConfig>): ClusterBuilder;
  withSecurity(config: Partial<SecurityConfig>): ClusterBuilder;
  withResilience(config: Partial<ResilienceConfig>): ClusterBuilder;
  enableDevelopmentMode(): ClusterBuilder;
  enableProductionMode(): ClusterBuilder;
  build(): ClusterConfig;
  create(): RobustClusterManager;
}

const builder: DocumentedClusterBuilder = buildCluster();

const errors: ClusterError[] = [
  new ClusterError('message', 'CODE', { any: 'details' }),
  new WorkerStartupError('message'),
  new WorkerCommunicationError('message'),
  new ResourceExhaustionError('message'),
  new ConfigurationError('message'),
  new HealthCheckError('message'),
];
const timestamps: number[] = errors.map((error) => error.timestamp);

const running: 'running' = WorkerState.RUNNING;
const scaling: 'scaling' = ClusterState.SCALING;
const timeout: 60000 = DEFAULT_VALUES.WORKER_TIMEOUT;
const stopped = cluster
  .getWorkers()
  .filter((worker) => worker.state === 'stopped' || worker.state === WorkerState.ERROR);

console.log(manager, robust, ipc, memory, monitor, factory, builder, timestamps, running, scaling, timeout, stopped);
