// Figures of the cluster, the machine and single processes.

import type { ScalingDecision } from './scaling';
import type { Timestamp } from './units';
import type { WorkerInfo } from './worker';

/** Of the machine. */
export interface CpuStats {
  cores: number;
  /** Processors that this process may use: less than `cores` by its affinity or its control group, a fraction under a quota. */
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
  /** What new processes may take without swapping. */
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
  /** Of all disks (not of what is built on them: partitions, volumes) and of all interfaces, since the last look. */
  disk: ThroughputStats;
  network: ThroughputStats;
  /** Milliseconds since the machine started. */
  uptime: number;
  timestamp: Timestamp;
}

export interface ProcessStats {
  pid: number;
  /** Bytes. The heap's are known of the process that asks alone. */
  memory: {
    rss: number;
    /** What is shared divided by those who share it; null where the kernel does not show it. */
    pss: number | null;
    vms: number;
    heapTotal?: number;
    heapUsed?: number;
    external?: number;
  };
  cpu: {
    /** Percent of one core since this monitor looked at that process last; at first since the process started. */
    usage: number;
    /** Milliseconds of CPU since the process started. */
    totalTime: number;
  };
  threads: number;
  /** Null where the kernel does not show them: they are another user's. */
  fileDescriptors: number | null;
  /** Milliseconds. */
  uptime: number;
  timestamp: Timestamp;
}

/** What a ProcessMonitor's `'stats'` has: the machine and the monitor's own process. */
export interface MonitoredStats {
  system: SystemStats;
  process: ProcessStats;
  timestamp: Timestamp;
}

/** The machine's memory: bytes, percentages. */
export interface MemoryStats {
  totalMemory: number;
  freeMemory: number;
  usedMemory: number;
  availableMemory: number;
  usagePercentage: number;
  swapTotal: number;
  swapFree: number;
  swapPercentage: number;
}

export interface WorkerMemoryStats {
  workerId: string;
  pid: number;
  /** Bytes. */
  memoryUsage: {
    rss: number;
    heapTotal: number;
    heapUsed: number;
    external: number;
    arrayBuffers: number;
  };
  /** Percent of one core. */
  cpuUsage: number;
  /** Milliseconds. */
  uptime: number;
  timestamp: Timestamp;
}

/** Bytes a second over the last sample. */
export interface ThroughputStats {
  read: number;
  written: number;
}

/** The cluster at one moment. Times in milliseconds, rates per second. */
export interface ClusterMetrics {
  timestamp: Timestamp;
  totalWorkers: number;
  activeWorkers: number;
  /** Since the cluster began, those of workers that are gone included. */
  totalRequests: number;
  /** Of these, answers of 5xx and requests whose connection or worker ended before their response. */
  totalErrors: number;
  /** Responses by class of status. */
  responses: Record<'1xx' | '2xx' | '3xx' | '4xx' | '5xx', number>;
  /** Of HTTP connections, TLS included: those that are over, and open ones as of a response in the last second or so. */
  bytesReceived: number;
  bytesSent: number;
  /** Garbage collections of all workers, and the milliseconds they took. */
  gc: { count: number; time: number };
  requestsPerSecond: number;
  averageResponseTime: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  /** Of the last minute: the fraction that was answered with 5xx, or lost its connection or its worker before. */
  errorRate: number;
  /** RSS of all workers, those that start or finish included, in bytes. */
  memoryUsage: number;
  /** Percent of what the workers can use: a processor each, and no more than the usable ones. */
  cpuUsage: number;
  /** Connections that wait for a worker. */
  queueLength: number;
  /** Connections that no worker could take in time. */
  refusedConnections: number;
  activeConnections: number;
  activeRequests: number;
  /** The longest that anything waited for a worker's event loop in the last second or two. */
  eventLoopLag: number;
  /** Deaths that another worker has followed; those of slots that are gone included. */
  restartCount: number;
  /** How often workers were replaced as planned: rolls, limits, failed checks. */
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
  /** What `monitoring.customMetrics` returned last. */
  custom: Record<string, unknown>;
  /** The metrics of `app.metrics`, by name; a counter's is without `_total`. */
  userMetrics: Record<string, UserMetric>;
  /** Messages of all programs, by type; types beyond the first 64 of a process are `'(other)'`. */
  messages: Record<string, MessageCounts>;
}

/** What became of messages of a type since the cluster began. */
export interface MessageCounts {
  sent: number;
  received: number;
  /** Questions that were answered, and those that failed: by their handler, by time, by the end of who was asked. */
  answered: number;
  failed: number;
  /** Milliseconds from a question to what settled it. */
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
  /** When a check of one of the present workers ended last; null where none has. */
  lastHealthCheck: Timestamp | null;
  details: WorkerHealthDetail[];
}

export type ClusterHealth = HealthStatus;

/** Labels of a metric of the user's, by name; a number is written in decimal. */
export type MetricLabels = Record<string, string | number>;

/**
 * Values are finite numbers, and each label of the metric is given: anything else throws `INVALID_ARGUMENT`. A value
 * whose labels are new and find no room is left out, counted in `drover_metrics_dropped_total` and said once.
 */
export interface Counter {
  /** Adds `value`, 1 without one; not below 0. */
  inc(value?: number, labels?: MetricLabels): void;
  inc(labels: MetricLabels, value?: number): void;
}

/** Summed over the workers. Of a worker that is gone nothing is left. */
export interface Gauge {
  set(value: number, labels?: MetricLabels): void;
  set(labels: MetricLabels, value: number): void;
  /** By `value`, 1 without one. */
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
 * The user's own metrics, summed over the workers and exported with drover's. A name is one metric in all processes of
 * the cluster: defined again it is the same object, defined otherwise it throws `INVALID_ARGUMENT`, as names and labels
 * do that Prometheus does not read, and names that are drover's own. `RESOURCE_EXHAUSTED`: a process has too many.
 */
export interface MetricsRegistry {
  /** Its samples end in `_total`, whether the name does or not. */
  counter(name: string, help: string, labels?: string[]): Counter;
  gauge(name: string, help: string, labels?: string[]): Gauge;
  /** @param options buckets: their upper bounds, growing; from 5 ms to 10 s in seconds when there are none */
  histogram(name: string, help: string, labels?: string[], options?: { buckets?: number[] }): Histogram;
}

/** A metric of the user's, all processes together. */
export interface UserMetric {
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  values: UserMetricValue[];
}

/** What a counter or a gauge says with these labels, or what a histogram has counted. */
export type UserMetricValue =
  | { labels: Record<string, string>; value: number }
  | {
      labels: Record<string, string>;
      count: number;
      sum: number;
      /** How many were at most `le`; all of them are `count`. */
      buckets: { le: number; count: number }[];
    };
