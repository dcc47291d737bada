// The events of a ClusterManager.

import type { EventEmitter } from 'node:events';
import type { ClusterMetrics, HealthStatus } from './metrics';
import type { ScalingHold, ScalingInputs, ScalingRule } from './scaling';
import type { Timestamp } from './units';
import type { WorkerInfo } from './worker';

/** The severity of an event. */
export type EventLevel = 'debug' | 'info' | 'warn' | 'error';

/** Why a worker ended. */
export type ExitReason =
  /** drover had told it to stop. */
  | 'stopped'
  /** It ended by itself with code 0. */
  | 'finished'
  /** It ended by itself with another code. */
  | 'failed'
  /** It was ended by a signal that drover had not sent. */
  | 'killed'
  /** It was not ready within `startupTimeout`. */
  | 'never_ready'
  /** It exceeded its deadline and was killed. */
  | 'deadline'
  /** It violated the protocol of its control channel. */
  | 'protocol'
  /** Its event loop was hung (`hangTimeout`). */
  | 'hung'
  /** It was above its hard limit of memory, or all workers together were, and drover killed it. */
  | 'memory_limit'
  /** It was above its CPU limit for a minute, and drover killed it (`killOnCpuExceed`). */
  | 'cpu_limit'
  /** Memory ran out, and the kernel's OOM killer ended it. */
  | 'out_of_memory';

/** The listeners by event. Every payload has the time of the event. */
export interface ClusterEvents {
  'worker:started': (data: {
    workerId: string;
    pid: number;
    generation: number;
    port: number;
    timestamp: Timestamp;
  }) => void;
  'worker:ready': (data: {
    workerId: string;
    pid: number;
    generation: number;
    /** Milliseconds from its start. */
    afterMs: number;
    timestamp: Timestamp;
  }) => void;
  'worker:draining': (data: { workerId: string; pid: number; timestamp: Timestamp }) => void;
  'worker:exit': (data: {
    workerId: string;
    pid: number;
    /** Null when a signal ended it. */
    exitCode: number | null;
    signal: NodeJS.Signals | null;
    reason: ExitReason;
    timestamp: Timestamp;
  }) => void;
  'worker:stopped': (data: { workerId: string; timestamp: Timestamp }) => void;
  /**
   * An uncaught error of the worker's program, as it was in the worker, or a failure of drover that concerns the
   * worker. Includes rejections that the program's own `unhandledRejection` listener received (at most ten per second);
   * these do not end the worker.
   */
  'worker:error': (data: { workerId: string; error: Error; timestamp: Timestamp }) => void;
  'worker:restart': (data: {
    workerId: string;
    reason: ExitReason;
    /** Milliseconds until the replacement starts. */
    delayMs: number;
    /** Deaths in the slot after which a new worker was started, including this one. */
    restarts: number;
    /** The worker did not die: its program asked to leave. */
    planned: boolean;
    timestamp: Timestamp;
  }) => void;
  'worker:unhealthy': (data: {
    workerId: string;
    /** A phrase such as `hung for 10.0 s at routes/report.js:42`. */
    reason: string;
    /** Whether the worker is replaced because of it. */
    replaced: boolean;
    /** The JavaScript stack of a hung worker, one frame per line; null if it could not be taken. */
    stack: string | null;
    timestamp: Timestamp;
  }) => void;
  /** A worker, or the memory of all workers, has reached a limit. */
  'worker:limit': (data: {
    workerId: string;
    /** `memory` and `totalMemory` in bytes, `cpu` in percent of one core, `age` in milliseconds, `requests`, `connections`. */
    limit: 'memory' | 'totalMemory' | 'cpu' | 'age' | 'requests' | 'connections';
    /**
     * `replace`: a new worker is started, then this one drains; `kill`; `relieve`: it gets half as many new connections
     * as others; `wait`: it gets no new connections until it has room; `alert`: a replacement would not help.
     */
    action: 'replace' | 'kill' | 'relieve' | 'wait' | 'alert';
    /** In the limit's unit. */
    value: number;
    allowed: number;
    /** The last samples of the worker's memory, bytes, the latest last; empty for other limits. */
    samples: number[];
    /** A sentence for people. */
    message: string;
    timestamp: Timestamp;
  }) => void;
  'cluster:started': (data: { workerCount: number; timestamp: Timestamp }) => void;
  'cluster:degraded': (data: {
    ready: number;
    wanted: number;
    /** Ids of workers. */
    failing: string[];
    timestamp: Timestamp;
  }) => void;
  'cluster:stopped': (data: { timestamp: Timestamp }) => void;
  'cluster:scaled': (data: { oldCount: number; newCount: number; timestamp: Timestamp }) => void;
  /** The auto-scaling changes the number of workers, or holds a step up for another reason than before. */
  'scaling:decision': (data: {
    action: 'up' | 'down' | 'none';
    from: number;
    to: number;
    rule: ScalingRule;
    /** Why the change was not made, or made in part. */
    hold: ScalingHold | null;
    panic: boolean;
    /** A sentence for people. */
    reason: string;
    inputs: ScalingInputs;
    timestamp: Timestamp;
  }) => void;
  /** The cluster's health or its list of unhealthy workers has changed. */
  'health:changed': (data: {
    status: 'healthy' | 'degraded' | 'critical';
    details: HealthStatus;
    timestamp: Timestamp;
  }) => void;
  'metrics:updated': (data: { metrics: ClusterMetrics; timestamp: Timestamp }) => void;
  /** Ids of workers; null if there is or was no leader. */
  'leader:changed': (data: { from: string | null; to: string | null; timestamp: Timestamp }) => void;
  /** Redis is reached; `machines`: those of the fleet. */
  'fleet:available': (data: { machines: number; timestamp: Timestamp }) => void;
  /** Redis cannot be reached, or refuses. What is of this machine alone goes on. */
  'fleet:unavailable': (data: { reason: string; timestamp: Timestamp }) => void;
  'fleet:joined': (data: { machine: string; host: string; timestamp: Timestamp }) => void;
  'fleet:left': (data: { machine: string; host: string; timestamp: Timestamp }) => void;
  /** This machine leads the fleet, with this fencing token; null: no longer. */
  'fleet:leader': (data: { token: number | null; timestamp: Timestamp }) => void;
  /** In the primary: a message that a worker sent with `process.send`, `sendToPrimary` or `sendToMaster`. */
  message: (worker: WorkerInfo, message: any) => void;
  alert: (data: { severity: EventLevel; message: string; timestamp: Timestamp }) => void;
}

type Listener<E> = E extends keyof ClusterEvents ? ClusterEvents[E] : (...args: any[]) => void;
type EventName = keyof ClusterEvents | (string & {}) | symbol;

/** An EventEmitter with types for drover's events; other events are allowed. */
export interface ClusterEventEmitter extends EventEmitter {
  on<E extends EventName>(event: E, listener: Listener<E>): this;
  once<E extends EventName>(event: E, listener: Listener<E>): this;
  off<E extends EventName>(event: E, listener: Listener<E>): this;
  addListener<E extends EventName>(event: E, listener: Listener<E>): this;
  removeListener<E extends EventName>(event: E, listener: Listener<E>): this;
  prependListener<E extends EventName>(event: E, listener: Listener<E>): this;
  prependOnceListener<E extends EventName>(event: E, listener: Listener<E>): this;
}
