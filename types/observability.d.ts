// Monitoring, logging and error handling.

import type { ClusterMetrics } from './metrics';
import type { Duration, Size } from './units';
import type { SampledWorkerInfo } from './worker';

/** Called with all metrics every `monitoring.metricsInterval`. */
export type MetricsExporter = (metrics: ClusterMetrics) => void | Promise<void>;

export interface MonitoringConfig {
  /** @default true in a clustered primary */
  enabled?: boolean;
  /** How often `metrics:updated`, `customMetrics` and `exporters` run; at least a second. @default 60000 */
  metricsInterval?: Duration;
  /** Serve `/metrics` for Prometheus. @default true */
  exportMetrics?: boolean;
  /**
   * Runs in the primary every `metricsInterval`; the object that it returns, at most 64 KB as JSON, is
   * `ClusterMetrics.custom`. If it fails or takes more than 5 s, the previous result is kept and the log says so once.
   */
  customMetrics?: (workers: SampledWorkerInfo[]) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** Retried as `errorHandling.retry` configures; an exporter that is still running is not called again. */
  exporters?: MetricsExporter | MetricsExporter[];
  /** Port of the monitoring API; 0: any free port, false: none. @default 3003 */
  port?: number | false;
  /** A host other than loopback requires a `token`, which every request must send. @default '127.0.0.1' */
  host?: string;
  /** Required by every request that changes something. Printable ASCII without leading or trailing blanks. */
  token?: string | undefined;
  /** How long the history reaches back. @default '1h' */
  retention?: Duration;
  /** The dashboard at `/` of the API. @default true */
  dashboard?: boolean;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** A part of drover that writes to the log. */
export type LogComponent =
  | 'supervisor'
  | 'workers'
  | 'dispatch'
  | 'health'
  | 'messages'
  | 'monitoring'
  | 'requests'
  | 'log';

/** A line of `GET /cluster/logs`. */
export interface LogLine {
  /** Increases with each line of the cluster; used for `after`. */
  id: number;
  /** Milliseconds since 1970. */
  time: number;
  level: Exclude<LogLevel, 'silent'>;
  /** null for drover's own lines. */
  worker: string | null;
  requestId: string | null;
  msg: string;
  /** All other members of the line. */
  fields: Record<string, unknown>;
}

/** A message and how often it occurred; `#` stands for numbers in it. */
export interface FrequentMessage {
  message: string;
  level: Exclude<LogLevel, 'silent'>;
  count: number;
  /** Milliseconds since 1970. */
  last: number;
}

/** The response of `GET /cluster/logs`. */
export interface LogTail {
  lines: LogLine[];
  /** The most frequent first. */
  frequent: FrequentMessage[];
  /** Lines that `maxRate` dropped. */
  dropped: number;
  /** The value of `after` for the next request, which then misses and repeats no line. */
  next: number;
}

/**
 * The id of the current request: the client's `x-request-id`, the trace id of its `traceparent`, or a new one;
 * undefined outside of requests. Requests have ids from the first call on, or from the start with `logging.requestIds`.
 */
export declare function requestId(): string | undefined;

export interface LoggingConfig {
  /** @default true */
  enabled?: boolean;
  /** @default 'info' */
  level?: LogLevel;
  /** Log levels by `LogComponent`, where they differ from `level`. */
  components?: Record<string, LogLevel>;
  /** `json` has pino's format. Default: `pretty` in development and on a terminal, else `json`. */
  format?: 'json' | 'pretty';
  /** Include the workers' output in the log; false: workers write to the primary's own streams. @default true */
  includeWorkerLogs?: boolean;
  /** A file instead of standard output; its folder is created. With `logRotation` and no file: `logs/drover.log`. */
  file?: string;
  /** Rename `drover.log` to `drover.log.1` at `maxLogSize` and start a new file. @default false */
  logRotation?: boolean;
  /** @default '10MB' */
  maxLogSize?: Size;
  /** Number of files that are kept, including the current one. @default 5 */
  maxLogFiles?: number;
  /**
   * Give every request an id and add it to the lines that are written during it; the first call of `requestId()`
   * enables this too. @default false
   */
  requestIds?: boolean;
  /** Warn about requests that take at least this long; 0: never. @default 5000 */
  slowRequests?: Duration;
  /** Maximum number of lines per second and worker; further lines are counted but not written. */
  maxRate?: number;
}

export interface CircuitBreakerConfig {
  /** @default true */
  enabled?: boolean;
  /** Consecutive 5xx responses after which a worker may be excluded from dispatch. @default 5 */
  failureThreshold?: number;
  /**
   * How long it is excluded the first time; also the time between trial starts of a slot whose restart circuit is open.
   * @default 30000
   */
  resetTimeout?: Duration;
}

/** Retries of the webhook, of exporters, and of messages to a worker that is being replaced. */
export interface RetryConfig {
  /** @default 3 */
  maxRetries?: number;
  /** @default 100 */
  initialDelay?: Duration;
  /** @default 5000 */
  maxDelay?: Duration;
}

/** drover's response when no worker can take a connection. */
export interface FallbackConfig {
  /** HTTP status. @default 503 */
  status?: number;
  /** A string, sent as text/plain, or an object or array, sent as JSON. Default: "Service Unavailable". */
  body?: string | object | unknown[];
  /** The Retry-After header, rounded up to seconds; 0: no such header. @default 1000 */
  retryAfter?: Duration;
}

export type Severity = 'debug' | 'info' | 'warn' | 'error';

export interface ErrorReportingConfig {
  /** URL that gets each report as a JSON POST. */
  webhook?: string;
  /** @default 'error' */
  minSeverity?: Severity;
  /** Number of error kinds that are kept. @default 1000 */
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
