// What can be seen of a cluster from outside: metrics, logs, errors.

import type { ClusterMetrics } from './metrics';
import type { Duration, Size } from './units';
import type { WorkerInfo } from './worker';

/** Gets all metrics every `monitoring.metricsInterval`. */
export type MetricsExporter = (metrics: ClusterMetrics) => void | Promise<void>;

export interface MonitoringConfig {
  /** @default true in a clustered primary */
  enabled?: boolean;
  /** How often `metrics:updated`, `customMetrics` and `exporters` run. @default 60000 */
  metricsInterval?: Duration;
  /** Serve `/metrics` for Prometheus. @default true */
  exportMetrics?: boolean;
  /**
   * Runs in the primary every `metricsInterval`; the object that it returns, at most 64 KB as JSON, is
   * `ClusterMetrics.custom`. When it fails or takes more than 5 s its last result stays, which is said once.
   */
  customMetrics?: (workers: WorkerInfo[]) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** Tried again as `errorHandling.retry` says; one that still runs is not called again. */
  exporters?: MetricsExporter | MetricsExporter[];
  /** Port of the monitoring API; 0 is any, false none. @default 3003 */
  port?: number | false;
  /** Another host than loopback needs a `token`. @default '127.0.0.1' */
  host?: string;
  /** Asked of every request that changes something. */
  token?: string | undefined;
  /** How long the history reaches back. @default '1h' */
  retention?: Duration;
  /** The dashboard at `/` of the API. @default true */
  dashboard?: boolean;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface LoggingConfig {
  /** @default true */
  enabled?: boolean;
  /** @default 'info' */
  level?: LogLevel;
  /** A level for a component of drover's. */
  components?: Record<string, LogLevel>;
  /** JSON lines are pino's. Without one: `pretty` in development and on a terminal, else `json`. */
  format?: 'json' | 'pretty';
  /** Take the workers' output into the stream. @default true */
  includeWorkerLogs?: boolean;
  /** A file instead of standard output. With `logRotation` and no file: `logs/drover.log`. */
  file?: string;
  /** @default false */
  logRotation?: boolean;
  /** @default '10MB' */
  maxLogSize?: Size;
  /** @default 5 */
  maxLogFiles?: number;
  /** Most lines a second. */
  maxRate?: number;
}

export interface CircuitBreakerConfig {
  /** @default true */
  enabled?: boolean;
  /** Consecutive 5xx answers of a worker after which it is left out of dispatch. @default 5 */
  failureThreshold?: number;
  /** How long it is left out at first; also the time between trials of a slot's restart circuit. @default 30000 */
  resetTimeout?: Duration;
}

export interface RetryConfig {
  /** @default 3 */
  maxRetries?: number;
  /** @default 100 */
  initialDelay?: Duration;
  /** @default 5000 */
  maxDelay?: Duration;
}

/** drover's own answer when no worker can give one. */
export interface FallbackConfig {
  /** HTTP status. @default 503 */
  status?: number;
  /** A text, sent as text/plain, or an object or a list, sent as JSON. Without one: "Service Unavailable". */
  body?: string | object | unknown[];
  /** The Retry-After header, rounded up to seconds; 0 leaves it out. @default 1000 */
  retryAfter?: Duration;
}

export type Severity = 'debug' | 'info' | 'warn' | 'error';

export interface ErrorReportingConfig {
  /** URL that gets each report as a JSON POST. */
  webhook?: string;
  /** @default 'error' */
  minSeverity?: Severity;
  /** Distinct errors kept. @default 1000 */
  maxEntries?: number;
}

export interface ErrorHandlingConfig {
  /** @default true */
  enabled?: boolean;
  circuitBreaker?: CircuitBreakerConfig;
  retry?: RetryConfig;
  fallback?: FallbackConfig;
  reporting?: ErrorReportingConfig;
}
