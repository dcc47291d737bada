// Classes for messages, memory and processes, usable without a cluster.

import type { EventEmitter } from 'node:events';
import type { IPCHandler, IPCResponse } from './messages';
import type { MemoryStats, MonitoredStats, ProcessStats, SystemStats, WorkerMemoryStats } from './metrics';
import type { MemoryConfig } from './supervision';
import type { Duration, Size, Timestamp } from './units';

/** A Node.js ChildProcess with an IPC channel, or a Bun subprocess. */
export interface Subprocess {
  readonly pid?: number | undefined;
  send(message: any): unknown;
}

export class IPCManager extends EventEmitter {
  constructor();

  registerWorker(workerId: string, subprocess: Subprocess): void;
  unregisterWorker(workerId: string): void;

  /** In the primary. Resolves to the handler's result. */
  sendToWorker(workerId: string, type: string, data: any): Promise<any>;
  broadcastToWorkers(type: string, data: any): Promise<IPCResponse[]>;
  sendToRandomWorker(type: string, data: any): Promise<any>;
  /** In a worker. Resolves to the handler's result. */
  sendToMaster(type: string, data: any): Promise<any>;
  sendToPrimary(type: string, data: any): Promise<any>;

  registerHandler(type: string, handler: IPCHandler): void;
  unregisterHandler(type: string): void;

  getWorkerStats(): { total: number; alive: number; dead: number };
  destroy(): void;
}

export { IPCManager as BunIPCManager };

/** A worker's memory compared with its limit: `maxMemoryPerWorker`, else `maxTotalMemory`. */
export interface MemoryLimitResult {
  /** False above 100 percent. */
  withinLimits: boolean;
  /** From `memoryWarningThreshold` and `memoryCriticalThreshold` percent on; 'exceeded' above 100. */
  status: 'ok' | 'warning' | 'critical' | 'exceeded';
  /** Percent of the limit; 0 without one. */
  usagePercentage: number;
  /** Bytes; null without a limit. */
  limit: number | null;
}

export interface MemoryRecommendation {
  severity: 'info' | 'warning' | 'critical';
  /** A sentence for people, with its numbers. */
  message: string;
  /** The worker it concerns; undefined: the whole cluster. */
  workerId?: string;
}

export interface MemoryOptimizationResult {
  /** The most severe first. */
  recommendations: MemoryRecommendation[];
  /** Estimated bytes that the recommendations would free. */
  potentialSavings: number;
  optimalWorkerCount: number;
}

export interface MemoryManagerConfig extends MemoryConfig {
  /** The limit that `checkMemoryLimits` compares with. */
  maxMemoryPerWorker?: Size;
}

/** Payload of a MemoryManager's `'stats'`. */
export interface MonitoredMemory {
  system: MemoryStats;
  /** The workers of the clusters of this process. */
  workers: WorkerMemoryStats[];
  timestamp: Timestamp;
}

/** Payload of a MemoryManager's `'warning'` and `'critical'`: emitted when the threshold is crossed. */
export interface MemoryPressure {
  /** Whose memory: one worker's, that of all workers together, or the machine's (the part that this process may use). */
  scope: 'worker' | 'workers' | 'system';
  /** Of the scope `'worker'` alone. */
  workerId?: string;
  /** Bytes. */
  usage: number;
  limit: number;
  /** Percent of the limit. */
  usagePercentage: number;
  /** A sentence for people. */
  message: string;
  timestamp: Timestamp;
}

/** Payload of a MemoryManager's `'leak'`: emitted once for a worker process that leaks. */
export interface MemoryLeak {
  workerId: string;
  /** What grows: the heap after major collections with its external memory, or resident memory. */
  measure: 'heap' | 'rss';
  bytesPerSecond: number;
  /** 0 to 1; a leak has 0.8 or more. */
  confidence: number;
  /** Number of samples that it is based on, and the seconds between the first and the last of them. */
  samples: number;
  seconds: number;
  /** Bytes, at the first and at the last of them. */
  from: number;
  to: number;
  /** Seconds until the limit is reached at this rate; null without a limit. */
  secondsToLimit: number | null;
  /** The same measure of the other workers. */
  siblings: 'unknown' | 'level' | 'growing' | 'above';
  /** The end of a sentence about the worker. */
  text: string;
  /** A sentence for people. */
  message: string;
  timestamp: Timestamp;
}

/**
 * Memory of the machine and of workers, with or without a cluster: it watches the workers of the clusters of its process,
 * in a worker those of its cluster.
 */
export class MemoryManager extends EventEmitter<{
  stats: [MonitoredMemory];
  warning: [MemoryPressure];
  critical: [MemoryPressure];
  leak: [MemoryLeak];
  error: [Error];
}> {
  /** Throws a ConfigurationError with every fault. */
  constructor(config?: MemoryManagerConfig);

  /** The machine, or the part of it that this process's cgroup may use. */
  getSystemMemoryStats(): Promise<MemoryStats>;
  /** Statistics of any process on this machine. Rejects with `INVALID_ARGUMENT` if it does not exist. */
  getWorkerMemoryStats(workerId: string, pid: number): Promise<WorkerMemoryStats>;

  /** @param currentMemory RSS in bytes */
  checkMemoryLimits(workerId: string, currentMemory: number): MemoryLimitResult;
  /**
   * Adds a sample of the caller's and returns whether the samples of this worker so far show a leak. Growth that would
   * fill the limit, or 1 GB if that is less, within two minutes needs eight samples; slower growth about half an hour.
   *
   * @param currentMemory RSS in bytes
   */
  detectMemoryLeak(workerId: string, currentMemory: number): boolean;
  /**
   * Whether a collection is worth its pause: much of the worker's heap is probably garbage, or it is near its limit. At
   * most once a minute for a worker. It collects nothing; `garbageCollectionHint` of the cluster does.
   */
  suggestGarbageCollection(workerId: string): boolean;

  /** How many workers memory allows, at most one per usable CPU. */
  calculateOptimalWorkerCount(systemStats?: MemoryStats): Promise<number>;
  getMemoryOptimizationRecommendations(): Promise<MemoryOptimizationResult>;

  /**
   * Emits `'stats'` at each interval, by default `memoryCheckInterval`, and `'warning'`, `'critical'` and `'leak'` when
   * they begin. A failure emits `'error'`, or a process warning if there is no listener for it. It does not keep the
   * process alive.
   */
  startMonitoring(interval?: Duration): void;
  stopMonitoring(): void;
  destroy(): void;
}

export class ProcessMonitor extends EventEmitter<{ stats: [MonitoredStats]; error: [Error] }> {
  constructor();

  /**
   * Statistics of the machine, or of the part of it that this process's cgroup may use. Rates are since the previous
   * call; a call right after another one takes up to 0.2 s.
   */
  getSystemStats(): Promise<SystemStats>;
  /** Statistics of any process on this machine. Rejects with `INVALID_ARGUMENT` if it does not exist. */
  getProcessStats(pid: number): Promise<ProcessStats>;

  /**
   * Emits `'stats'` with MonitoredStats at each interval, by default DEFAULT_VALUES.METRICS_INTERVAL. A failure emits
   * `'error'`, or a process warning if there is no listener for it. It does not keep the process alive.
   */
  startMonitoring(interval?: Duration): void;
  stopMonitoring(): void;
  destroy(): void;
}
