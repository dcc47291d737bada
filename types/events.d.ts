// The events of a ClusterManager.

import type { EventEmitter } from 'node:events';
import type { ClusterMetrics, HealthStatus } from './metrics';
import type { ScalingDecision } from './scaling';
import type { Timestamp } from './units';
import type { WorkerInfo } from './worker';

/** How loud an event is. */
export type EventLevel = 'debug' | 'info' | 'warn' | 'error';

/** Why a worker is gone. */
export type ExitReason =
  /** drover had asked it to end. */
  | 'stopped'
  /** It ended by itself with code 0. */
  | 'finished'
  /** It ended by itself with another code. */
  | 'failed'
  /** A signal that drover had not sent ended it. */
  | 'killed'
  /** It was not ready within `startupTimeout`. */
  | 'never_ready'
  /** It outlived its deadline. */
  | 'deadline'
  /** It broke the protocol of its channel. */
  | 'protocol'
  /** Its event loop was hung (`hangTimeout`). */
  | 'hung';

/** Each event's listener. Every payload has the time it happened. */
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
   * What the worker threw and nobody caught, as it was there, or what drover could not do for it. Rejections that only a
   * listener for `unhandledRejection` saw are among them (ten a second at most), and end nothing.
   */
  'worker:error': (data: { workerId: string; error: Error; timestamp: Timestamp }) => void;
  'worker:restart': (data: {
    workerId: string;
    reason: ExitReason;
    /** Milliseconds until the replacement starts. */
    delayMs: number;
    /** Deaths in the slot that another worker has followed, this one included. */
    restarts: number;
    /** Nobody has died: the worker leaves because its program says so. */
    planned: boolean;
    timestamp: Timestamp;
  }) => void;
  'worker:unhealthy': (data: {
    workerId: string;
    /** In words, such as `hung for 10.0 s at routes/report.js:42`. */
    reason: string;
    /** Another worker takes its place because of it. */
    replaced: boolean;
    /** What the JavaScript of a hung worker was doing, a frame a line; null where that could not be told. */
    stack: string | null;
    timestamp: Timestamp;
  }) => void;
  'worker:limit': (data: {
    workerId: string;
    limit: 'memory' | 'cpu' | 'requests' | 'connections';
    /** In the limit's unit. */
    value: number;
    allowed: number;
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
  'scaling:decision': (data: ScalingDecision) => void;
  /** The cluster's health is another, or other workers are not well. */
  'health:changed': (data: {
    status: 'healthy' | 'degraded' | 'critical';
    details: HealthStatus;
    timestamp: Timestamp;
  }) => void;
  'metrics:updated': (data: { metrics: ClusterMetrics; timestamp: Timestamp }) => void;
  /** Ids of workers; null where nobody leads or led. */
  'leader:changed': (data: { from: string | null; to: string | null; timestamp: Timestamp }) => void;
  /** What a worker sent with `process.send`, `sendToPrimary` or `sendToMaster`; in the primary. */
  message: (worker: WorkerInfo, message: any) => void;
  alert: (data: { severity: EventLevel; message: string; timestamp: Timestamp }) => void;
}

type Listener<E> = E extends keyof ClusterEvents ? ClusterEvents[E] : (...args: any[]) => void;
type EventName = keyof ClusterEvents | (string & {}) | symbol;

/** An EventEmitter that knows drover's events and takes any other. */
export interface ClusterEventEmitter extends EventEmitter {
  on<E extends EventName>(event: E, listener: Listener<E>): this;
  once<E extends EventName>(event: E, listener: Listener<E>): this;
  off<E extends EventName>(event: E, listener: Listener<E>): this;
  addListener<E extends EventName>(event: E, listener: Listener<E>): this;
  removeListener<E extends EventName>(event: E, listener: Listener<E>): this;
  prependListener<E extends EventName>(event: E, listener: Listener<E>): this;
  prependOnceListener<E extends EventName>(event: E, listener: Listener<E>): this;
}
