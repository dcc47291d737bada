// The public view of a worker.

import type { Timestamp } from './units';

/** The public states. `WorkerInfo.detail` is more detailed. */
export const WorkerState: {
  readonly STARTING: 'starting';
  readonly RUNNING: 'running';
  readonly STOPPING: 'stopping';
  readonly STOPPED: 'stopped';
  readonly ERROR: 'error';
};
export type WorkerState = (typeof WorkerState)[keyof typeof WorkerState];

/** The states of a slot inside drover; several map to one {@link WorkerState}. */
export type WorkerDetail =
  'vacant' | 'starting' | 'standby' | 'ready' | 'draining' | 'stopping' | 'waiting' | 'circuit-open';

/** The outcome of a worker's health checks. */
export interface WorkerHealth {
  /**
   * `unknown` before the first check; `failing`: it failed its latest checks, but fewer than `maxFailures` in a row;
   * `unhealthy`: it gets no new connections and is replaced; `ejected`: it temporarily gets no new connections because
   * it responds with 5xx much more often than other workers (`errorHandling.circuitBreaker`).
   */
  status: 'healthy' | 'failing' | 'unhealthy' | 'ejected' | 'unknown';
  consecutiveFailures: number;
  /** Null before the first check. */
  lastCheck: Timestamp | null;
  /** The reason of the failure; null while healthy. */
  reason: string | null;
  /** The latest metrics of `customCheck`; null without one. At most about 900 bytes of JSON. */
  metrics: Record<string, unknown> | null;
}

/** A worker's heap, bytes: read when it answers, once a second at most, and at major collections. */
export interface WorkerHeap {
  used: number;
  total: number;
  /** Memory outside of the heap that its objects hold, such as Buffers. */
  external: number;
  /** What the latest major collection has left, with external memory; null before the first, and under Bun. */
  floor: number | null;
  majorCollections: number;
}

/**
 * A worker at one moment.
 */
export interface WorkerInfo {
  /** Its slot's number, as text; a replacement keeps it. */
  id: string;
  /** The same as `id`. */
  workerId: string;
  /** Null while no process lives in the slot. */
  pid: number | null;
  /** The number of the process within its slot, counted from 1. */
  generation: number;
  state: WorkerState;
  /** The same as `state`. */
  status: WorkerState;
  detail: WorkerDetail;
  startTime: Timestamp;
  /** Milliseconds since `startTime`. */
  uptime: number;
  /** Deaths in this slot after which a new worker was started. */
  restarts: number;
  /** Planned replacements of the slot's worker: rolls, limits, failed checks. */
  replacements: number;
  port: number;
  /** Requests since the slot was created, including earlier workers. */
  requestCount: number;
  /** Includes those of draining workers of the slot. */
  activeRequests: number;
  /** Like `activeRequests`, includes draining workers of the slot. */
  activeConnections: number;
  /** Milliseconds, since the start of this process. */
  averageResponseTime: number;
  /** RSS in bytes, sampled once a second. Null before the first sample. */
  memoryUsage: number | null;
  /** Percent of one core over the last second. Null before the first sample. */
  cpuUsage: number | null;
  /**
   * The longest delay of the event loop in the last one or two seconds, in milliseconds; for a blocked loop, how long
   * it has been blocked, accurate to a second or two. Null before the first sample.
   */
  eventLoopLag: number | null;
  /** Null until it was read: after the first request or major collection. */
  heap: WorkerHeap | null;
  /** It serves or is ready to, its event loop runs and its checks pass. */
  healthy: boolean;
  health: WorkerHealth;
}

/** The argument of `monitoring.customMetrics`: values that were not sampled yet are 0. */
export interface SampledWorkerInfo extends WorkerInfo {
  memoryUsage: number;
  cpuUsage: number;
  eventLoopLag: number;
}

export type BunWorker = WorkerInfo;
