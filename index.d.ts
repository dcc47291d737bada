// drover's types, written by hand. This file lists the exports and where they are declared. Units are the same
// everywhere: milliseconds, bytes, CPU as percent of one core for a worker and of the usable capacity for the cluster,
// rates per second, errorRate as a fraction, memory as RSS.

export { createServer } from './types/app';
export type { ClusterApp, ClusterExpress } from './types/app';
export type {
  ClusterConfig,
  ClusterOptions,
  FastifyLike,
  FetchLike,
  ListenLike,
  KoaLike,
  NestLike,
  NodeRequestListener,
  ServableApp,
  ServerOptions,
} from './types/config';
export type { AdmissionConfig, AffinityCookieConfig, LoadBalancingConfig, LoadBalancingStrategy } from './types/dispatch';
export {
  ClusterError,
  ConfigurationError,
  HealthCheckError,
  ResourceExhaustionError,
  WorkerCommunicationError,
  WorkerStartupError,
} from './types/errors';
export type { ClusterErrorCode, ConfigurationFault, ErrorCode, NodeErrorCode } from './types/errors';
export type { ClusterEventEmitter, ClusterEvents, EventLevel, ExitReason } from './types/events';
export {
  BunClusterManager,
  ClusterFactory,
  ClusterManager,
  ClusterState,
  DEFAULT_VALUES,
  RobustClusterManager,
  buildCluster,
} from './types/manager';
export type { ClusterBuilder, EnvironmentName } from './types/manager';
export type {
  BroadcastOptions,
  IPCHandler,
  IPCMessage,
  IPCResponse,
  MessageHandler,
  MessageOptions,
  Messaging,
} from './types/messages';
export type {
  BunClusterMetrics,
  ClusterHealth,
  ClusterMetrics,
  Counter,
  CpuStats,
  Gauge,
  HealthStatus,
  Histogram,
  MemoryStats,
  MessageCounts,
  MonitoredStats,
  MetricLabels,
  MetricsRegistry,
  ProcessStats,
  SwapStats,
  SystemMemoryStats,
  SystemStats,
  ThroughputStats,
  UserMetric,
  UserMetricValue,
  WorkerHealthDetail,
  WorkerMemoryStats,
} from './types/metrics';
export type {
  CircuitBreakerConfig,
  ErrorHandlingConfig,
  ErrorHandlingConfig as ResilienceConfig,
  ErrorReportingConfig,
  FallbackConfig,
  LogLevel,
  FrequentMessage,
  LogComponent,
  LogLine,
  LogTail,
  LoggingConfig,
  MetricsExporter,
  MonitoringConfig,
  RetryConfig,
  Severity,
} from './types/observability';
export type { AutoScalingConfig, ScaleDownThreshold, ScaleUpThreshold, ScalingDecision } from './types/scaling';
export type { Fleet, FleetFigures, FleetLead, FleetMember, RedisOptions, RedisTlsOptions } from './types/fleet';
export type { Cache, CacheConfig, CacheEvents, CacheGetOrSetOptions, CacheSetOptions, CacheStats } from './types/cache';
export type { IPCConfig, IPCRule, SecurityConfig } from './types/security';
export { BunIPCManager, IPCManager, MemoryManager, ProcessMonitor } from './types/services';
export type {
  MemoryLeak,
  MemoryLimitResult,
  MemoryManagerConfig,
  MemoryOptimizationResult,
  MemoryPressure,
  MemoryRecommendation,
  MonitoredMemory,
  Subprocess,
} from './types/services';
export type {
  CustomHealthCheck,
  CustomHealthResult,
  HealthCheckConfig,
  LimitsConfig,
  MemoryConfig,
  ProcessManagementConfig,
  ResourceConfig,
} from './types/supervision';
export type { Duration, Size, Timestamp } from './types/units';
export { WorkerState } from './types/worker';
export type { BunWorker, SampledWorkerInfo, WorkerDetail, WorkerHealth, WorkerHeap, WorkerInfo } from './types/worker';
