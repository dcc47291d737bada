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
  status: 'healthy' | 'unhealthy' | 'unknown';
  consecutiveFailures: number;
  /** Null before the first check. */
  lastCheck: Timestamp | null;
}

/**
 * A worker at one moment. What this version does not measure yet (see the changelog) is null at run time
 * whatever the type says, so that code written now is right later.
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
  /** Unexpected deaths of the slot that led to a restart. */
  restarts: number;
  port: number;
  /** Requests answered in this process's life. */
  requestCount: number;
  activeRequests: number;
  activeConnections: number;
  /** Milliseconds. */
  averageResponseTime: number;
  /** RSS in bytes. */
  memoryUsage: number;
  /** Percent of one core. */
  cpuUsage: number;
  /** Milliseconds. */
  eventLoopLag: number;
  healthy: boolean;
  health: WorkerHealth;
}

export type BunWorker = WorkerInfo;
