// A worker as observers see it.

import type { Timestamp } from './units';

/** The documented states. The finer one is `WorkerInfo.detail`. */
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
   * `unknown` before the first check; `failing`: it failed a check, and not yet `maxFailures` in a row; `unhealthy`: it
   * gets no new connections and is replaced; `ejected`: it gets none for a while because it answers 5xx where its
   * siblings do not (`errorHandling.circuitBreaker`).
   */
  status: 'healthy' | 'failing' | 'unhealthy' | 'ejected' | 'unknown';
  consecutiveFailures: number;
  /** Null before the first check. */
  lastCheck: Timestamp | null;
  /** What was wrong, in words; null while nothing is. */
  reason: string | null;
  /** What `customCheck` measured last; null without one. At most some 900 bytes of JSON. */
  metrics: Record<string, unknown> | null;
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
  /** Counts the processes that the slot has had. */
  generation: number;
  state: WorkerState;
  /** The same as `state`. */
  status: WorkerState;
  detail: WorkerDetail;
  startTime: Timestamp;
  /** Milliseconds since `startTime`. */
  uptime: number;
  /** Deaths in this slot that another worker has followed. */
  restarts: number;
  /** How often the slot's worker was replaced as planned: a roll, a limit, a failed check. */
  replacements: number;
  port: number;
  /** Requests of the slot's whole life, those of earlier workers included. */
  requestCount: number;
  /** Those of an earlier worker of the slot that finishes what it has included. */
  activeRequests: number;
  /** As `activeRequests`. */
  activeConnections: number;
  /** Milliseconds, over this process's life. */
  averageResponseTime: number;
  /** RSS in bytes, sampled once a second. Null before the first sample. */
  memoryUsage: number | null;
  /** Percent of one core over the last second. Null before the first sample. */
  cpuUsage: number | null;
  /**
   * The longest that anything waited for the event loop in the last second or two, milliseconds; while the loop stands
   * still, for how long it has, to a second or two. Null before the first sample.
   */
  eventLoopLag: number | null;
  /** It serves, or is ready to, its event loop turns and its checks pass. */
  healthy: boolean;
  health: WorkerHealth;
}

/** What `monitoring.customMetrics` gets: figures that were not sampled yet are 0. */
export interface SampledWorkerInfo extends WorkerInfo {
  memoryUsage: number;
  cpuUsage: number;
  eventLoopLag: number;
}

export type BunWorker = WorkerInfo;
