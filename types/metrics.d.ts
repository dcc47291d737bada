// Metrics of the cluster, the machine and single processes.

import type { ScalingDecision } from './scaling';
import type { Timestamp } from './units';
import type { WorkerInfo } from './worker';

/** Of the machine. */
export interface CpuStats {
  cores: number;
  /**
   * Processors that this process may use: limited by its CPU affinity and its control group; fractional under a quota.
   */
  usable: number;
  /** Percent of all cores. */
  usage: number;
  /** Over 1, 5 and 15 minutes. */
  loadAverage: number[];
}

/** Bytes; usage in percent. */
export interface SystemMemoryStats {
  total: number;
  free: number;
  used: number;
  /** Memory available to new processes without swapping. */
  available: number;
  usagePercentage: number;
}

/** Bytes; usage in percent. */
export interface SwapStats {
  total: number;
  free: number;
  used: number;
  usagePercentage: number;
}

export interface SystemStats {
  cpu: CpuStats;
  memory: SystemMemoryStats;
  swap: SwapStats;
  /** Of all disks (not counting partitions and volumes on them) and of all interfaces, since the previous sample. */
  disk: ThroughputStats;
  network: ThroughputStats;
  /** Milliseconds since the machine started. */
  uptime: number;
  timestamp: Timestamp;
}

export interface ProcessStats {
  pid: number;
  /** Bytes. Heap values exist only for the calling process. */
  memory: {
    rss: number;
    /**
     * Resident memory with each shared page divided by the number of its users; null if the kernel does not show it.
     */
    pss: number | null;
    vms: number;
    heapTotal?: number;
    heapUsed?: number;
    external?: number;
  };
  cpu: {
    /** Percent of one core since this monitor's previous sample of the process; at first since the process started. */
    usage: number;
    /** Milliseconds of CPU since the process started. */
    totalTime: number;
  };
  threads: number;
  /** Null for another user's process, whose descriptors the kernel does not show. */
  fileDescriptors: number | null;
  /** Milliseconds. */
  uptime: number;
  timestamp: Timestamp;
}

/** Payload of a ProcessMonitor's `'stats'`: the machine and the monitor's own process. */
export interface MonitoredStats {
  system: SystemStats;
  process: ProcessStats;
  timestamp: Timestamp;
}

/** The machine's memory, in bytes and percent. */
export interface MemoryStats {
  totalMemory: number;
  freeMemory: number;
  usedMemory: number;
  /** Memory available to new processes without swapping. */
  availableMemory: number;
  usagePercentage: number;
  swapTotal: number;
  swapFree: number;
  swapPercentage: number;
}

export interface WorkerMemoryStats {
  workerId: string;
  pid: number;
  /**
   * Bytes. Of the heap of another process only that of a worker of this process's clusters is known, as of its latest
   * response or major collection; null otherwise. `arrayBuffers`, which `external` includes, is known of the own process.
   */
  memoryUsage: {
    rss: number;
    heapTotal: number | null;
    heapUsed: number | null;
    external: number | null;
    arrayBuffers: number | null;
  };
  /** Percent of one core since the previous call for the process; at first since the process started. */
  cpuUsage: number;
  /** Milliseconds. */
  uptime: number;
  timestamp: Timestamp;
}

/** Bytes per second over the last sample. */
export interface ThroughputStats {
  read: number;
  written: number;
}

/** The cluster at one moment. Times in milliseconds, rates per second. */
export interface ClusterMetrics {
  timestamp: Timestamp;
  totalWorkers: number;
  activeWorkers: number;
  /** Since the cluster started, including workers that are gone. */
  totalRequests: number;
  /** 5xx responses, and requests whose connection or worker ended before the response. */
  totalErrors: number;
  /** Responses by status class. */
  responses: Record<'1xx' | '2xx' | '3xx' | '4xx' | '5xx', number>;
  /**
   * Bytes on the wire (TLS included) of closed HTTP connections, and of open ones as of their latest response, about a
   * second old at most.
   */
  bytesReceived: number;
  bytesSent: number;
  /** Garbage collections of all workers, and their total time in milliseconds. */
  gc: { count: number; time: number };
  requestsPerSecond: number;
  averageResponseTime: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  /** Over the last minute: errors (see `totalErrors`) as a fraction of finished requests, 0 to 1. */
  errorRate: number;
  /** RSS of all workers, including starting and draining ones, in bytes. */
  memoryUsage: number;
  /** Percent of what the workers can use: one processor each, at most the usable processors. */
  cpuUsage: number;
  /** Connections that wait for a worker. */
  queueLength: number;
  /** Connections that no worker could take in time. */
  refusedConnections: number;
  /** Requests that `loadBalancing.admission` refused in workers; they are in no other count. */
  refusedRequests: number;
  activeConnections: number;
  activeRequests: number;
  /** The longest delay of a worker's event loop in the last one or two seconds, in milliseconds. */
  eventLoopLag: number;
  /** Deaths after which a new worker was started, including those of removed slots. */
  restartCount: number;
  /** Planned replacements of workers: rolls, limits, failed checks. */
  replacementCount: number;
  uptime: number;
  workers: WorkerInfo[];
  /** Null before the first sample, a second after the start, and without `monitoring`. */
  system: null | {
    cpu: CpuStats;
    memory: SystemMemoryStats;
    swap: SwapStats;
    disk: ThroughputStats;
    network: ThroughputStats;
  };
  lastScalingAction: ScalingDecision | null;
  /** The latest result of `monitoring.customMetrics`. */
  custom: Record<string, unknown>;
  /** The metrics of `app.metrics`, by name; counters without `_total`. */
  userMetrics: Record<string, UserMetric>;
  /** Messages of all programs, by type; types beyond the first 64 of a process are `'(other)'`. */
  messages: Record<string, MessageCounts>;
}

/** Counts of the messages of one type since the cluster started. */
export interface MessageCounts {
  sent: number;
  received: number;
  /** Requests that got a response. `failed`: handler errors, timeouts, receivers that ended. */
  answered: number;
  failed: number;
  /** Milliseconds from a request until it was settled. */
  averageTime: number;
}

export type BunClusterMetrics = ClusterMetrics;

/** Why a worker counts as healthy or not. */
export interface WorkerHealthDetail {
  workerId: string;
  healthy: boolean;
  /** Sentences for people; empty when healthy. */
  reasons: string[];
}

export interface HealthStatus {
  /** Whether `status` is `'healthy'`. */
  healthy: boolean;
  /** `degraded` below 100 % of the workers ready, `critical` below 50 %. */
  status: 'healthy' | 'degraded' | 'critical';
  totalWorkers: number;
  healthyWorkers: number;
  /** Ids of workers. */
  unhealthyWorkers: string[];
  /** Time of the latest completed check of a current worker; null if there was none. */
  lastHealthCheck: Timestamp | null;
  details: WorkerHealthDetail[];
  /** Whether Redis does what is asked; only with `redis` in the configuration. It does not change `status`. */
  fleet?: { available: boolean };
}

export type ClusterHealth = HealthStatus;

/** Label values of a user metric, by label name; numbers are written in decimal. */
export type MetricLabels = Record<string, string | number>;

/**
 * Values must be finite numbers, and all labels of the metric must be given, otherwise `INVALID_ARGUMENT` is thrown. A
 * value that would start a series for which there is no room is dropped, counted in `drover_metrics_dropped_total` and
 * logged once.
 */
export interface Counter {
  /** Adds `value`, by default 1; it must not be negative. */
  inc(value?: number, labels?: MetricLabels): void;
  inc(labels: MetricLabels, value?: number): void;
}

/** Summed over the workers; the value of a worker is removed when it ends. */
export interface Gauge {
  set(value: number, labels?: MetricLabels): void;
  set(labels: MetricLabels, value: number): void;
  /** Adds `value`, by default 1. */
  inc(value?: number, labels?: MetricLabels): void;
  inc(labels: MetricLabels, value?: number): void;
  dec(value?: number, labels?: MetricLabels): void;
  dec(labels: MetricLabels, value?: number): void;
}

export interface Histogram {
  observe(value: number, labels?: MetricLabels): void;
  observe(labels: MetricLabels, value: number): void;
}

/**
 * The user's own metrics, summed over the workers and exported with drover's. A name identifies one metric in all
 * processes of the cluster: defining it again returns the same object. A different definition, a name or label that is
 * invalid in Prometheus, and a name reserved by drover throw `INVALID_ARGUMENT`; too many metrics in a process throw
 * `RESOURCE_EXHAUSTED`.
 */
export interface MetricsRegistry {
  /** Its samples end in `_total`, even if the name does not. */
  counter(name: string, help: string, labels?: string[]): Counter;
  gauge(name: string, help: string, labels?: string[]): Gauge;
  /** @param options buckets: ascending upper bounds; default: 5 ms to 10 s, in seconds */
  histogram(name: string, help: string, labels?: string[], options?: { buckets?: number[] }): Histogram;
}

/** A user metric, summed over all processes. */
export interface UserMetric {
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  values: UserMetricValue[];
}

/** The value of a counter or gauge with these labels, or the counts of a histogram. */
export type UserMetricValue =
  | { labels: Record<string, string>; value: number }
  | {
      labels: Record<string, string>;
      count: number;
      sum: number;
      /** Cumulative: observations of at most `le`. The total is `count`. */
      buckets: { le: number; count: number }[];
    };
