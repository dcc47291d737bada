// Classes for messages, memory and processes, usable without a cluster.

import type { EventEmitter } from 'node:events';
import type { IPCHandler, IPCResponse } from './messages';
import type { MemoryStats, MonitoredStats, ProcessStats, SystemStats, WorkerMemoryStats } from './metrics';
import type { MemoryConfig } from './supervision';
import type { Duration, Size } from './units';

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

/** A worker's memory compared with its limit. */
export interface MemoryLimitResult {
  withinLimits: boolean;
  status: 'ok' | 'warning' | 'critical' | 'exceeded';
  /** Percent of the limit. */
  usagePercentage: number;
  /** Bytes; null without a limit. */
  limit: number | null;
}

export interface MemoryRecommendation {
  severity: 'info' | 'warning' | 'critical';
  /** A sentence for people. */
  message: string;
  /** The worker it concerns; undefined: the whole cluster. */
  workerId?: string;
}

export interface MemoryOptimizationResult {
  recommendations: MemoryRecommendation[];
  /** Estimated bytes that the recommendations would free. */
  potentialSavings: number;
  optimalWorkerCount: number;
}

export interface MemoryManagerConfig extends MemoryConfig {
  /** The limit that `checkMemoryLimits` compares with. */
  maxMemoryPerWorker?: Size;
}

export class MemoryManager extends EventEmitter {
  constructor(config?: MemoryManagerConfig);

  getSystemMemoryStats(): Promise<MemoryStats>;
  getWorkerMemoryStats(workerId: string, pid: number): Promise<WorkerMemoryStats>;

  /** @param currentMemory RSS in bytes */
  checkMemoryLimits(workerId: string, currentMemory: number): MemoryLimitResult;
  /** @param currentMemory RSS in bytes */
  detectMemoryLeak(workerId: string, currentMemory: number): boolean;
  suggestGarbageCollection(workerId: string): boolean;

  calculateOptimalWorkerCount(systemStats?: MemoryStats): Promise<number>;
  getMemoryOptimizationRecommendations(): Promise<MemoryOptimizationResult>;

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
