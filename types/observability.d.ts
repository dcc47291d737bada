// What can be seen of a cluster from outside: metrics, logs, errors.

import type { ClusterMetrics } from './metrics';
import type { Duration, Size } from './units';
import type { SampledWorkerInfo } from './worker';

/** Gets all metrics every `monitoring.metricsInterval`. */
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
   * `ClusterMetrics.custom`. When it fails or takes more than 5 s its last result stays, which is said once.
   */
  customMetrics?: (workers: SampledWorkerInfo[]) => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** Tried again as `errorHandling.retry` says; one that still runs is not called again. */
  exporters?: MetricsExporter | MetricsExporter[];
  /** Port of the monitoring API; 0 is any, false none. @default 3003 */
  port?: number | false;
  /** Another host than loopback needs a `token`, and every request shows it. @default '127.0.0.1' */
  host?: string;
  /** Asked of every request that changes something. Printable ASCII without blanks at its ends. */
  token?: string | undefined;
  /** How long the history reaches back. @default '1h' */
  retention?: Duration;
  /** The dashboard at `/` of the API. @default true */
  dashboard?: boolean;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** A part of drover that says something in the log. */
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
  /** Grows with each line of the cluster: for `after`. */
  id: number;
  /** Milliseconds since 1970. */
  time: number;
  level: Exclude<LogLevel, 'silent'>;
  /** null: a line of drover's own. */
  worker: string | null;
  requestId: string | null;
  msg: string;
  /** What the line says besides. */
  fields: Record<string, unknown>;
}

/** A message and how often it came; `#` stands for its numbers. */
export interface FrequentMessage {
  message: string;
  level: Exclude<LogLevel, 'silent'>;
  count: number;
  /** Milliseconds since 1970. */
  last: number;
}

/** The answer of `GET /cluster/logs`. */
export interface LogTail {
  lines: LogLine[];
  /** The most frequent first. */
  frequent: FrequentMessage[];
  /** Lines that `maxRate` held back. */
  dropped: number;
  /** Asked for with `after` next, no line is missed and none comes twice. */
  next: number;
}

/**
 * The id of the request during which this is called: the client's `x-request-id`, the trace id of its `traceparent`, or a
 * new one; undefined outside of requests. Requests have ids from the first call on, or from the start with
 * `logging.requestIds`.
 */
export declare function requestId(): string | undefined;

export interface LoggingConfig {
  /** @default true */
  enabled?: boolean;
  /** @default 'info' */
  level?: LogLevel;
  /** By `LogComponent`: the least level of a part of drover where it is another than `level`. */
  components?: Record<string, LogLevel>;
  /** JSON lines are pino's. Without one: `pretty` in development and on a terminal, else `json`. */
  format?: 'json' | 'pretty';
  /** The workers' output is part of the log; false: it goes where the primary's does. @default true */
  includeWorkerLogs?: boolean;
  /** A file instead of standard output; its folder is made. With `logRotation` and no file: `logs/drover.log`. */
  file?: string;
  /** At `maxLogSize` `drover.log` becomes `drover.log.1` and a new file begins. @default false */
  logRotation?: boolean;
  /** @default '10MB' */
  maxLogSize?: Size;
  /** Files that are kept, the one that is written to among them. @default 5 */
  maxLogFiles?: number;
  /** Give every request an id, and put it on the lines that are written during it; `requestId()` does so too. @default false */
  requestIds?: boolean;
  /** Warn of requests that take so long; 0 is never. @default 5000 */
  slowRequests?: Duration;
  /** Most lines a second of one worker; the others are counted and not written. */
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

/** Of the webhook, of exporters, and of messages to a worker that is being replaced. */
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
