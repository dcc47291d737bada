// Messages, memory and processes as classes of their own, usable without a cluster.

import type { EventEmitter } from 'node:events';
import type { IPCHandler, IPCResponse } from './messages';
import type { MemoryStats, MonitoredStats, ProcessStats, SystemStats, WorkerMemoryStats } from './metrics';
import type { MemoryConfig } from './supervision';
import type { Duration, Size } from './units';

/** A ChildProcess of Node's with an IPC channel, or a subprocess of Bun's. */
export interface Subprocess {
  readonly pid?: number | undefined;
  send(message: any): unknown;
}

export class IPCManager extends EventEmitter {
  constructor();

  registerWorker(workerId: string, subprocess: Subprocess): void;
  unregisterWorker(workerId: string): void;

  /** From the primary. Resolves to the handler's answer. */
  sendToWorker(workerId: string, type: string, data: any): Promise<any>;
  broadcastToWorkers(type: string, data: any): Promise<IPCResponse[]>;
  sendToRandomWorker(type: string, data: any): Promise<any>;
  /** From a worker. */
  sendToMaster(type: string, data: any): Promise<any>;
  sendToPrimary(type: string, data: any): Promise<any>;

  registerHandler(type: string, handler: IPCHandler): void;
  unregisterHandler(type: string): void;

  getWorkerStats(): { total: number; alive: number; dead: number };
  destroy(): void;
}

export { IPCManager as BunIPCManager };

/** Where a worker's memory stands against its limit. */
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
  /** The worker it is about; without one, the cluster. */
  workerId?: string;
}

export interface MemoryOptimizationResult {
  recommendations: MemoryRecommendation[];
  /** Bytes that following them would free, as an estimate. */
  potentialSavings: number;
  optimalWorkerCount: number;
}

export interface MemoryManagerConfig extends MemoryConfig {
  /** The limit that `checkMemoryLimits` holds workers against. */
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
   * The machine, or the part of it that this process's cgroup may use. Rates are since the last look; a look that
   * follows another at once takes up to 0.2 s.
   */
  getSystemStats(): Promise<SystemStats>;
  /** Any process of this machine. Rejects with `INVALID_ARGUMENT` where there is none. */
  getProcessStats(pid: number): Promise<ProcessStats>;

  /**
   * Emits `'stats'` with MonitoredStats once an interval, by default DEFAULT_VALUES.METRICS_INTERVAL; what fails is an
   * `'error'`, or a warning of the process where nobody listens to that. It does not keep the process alive.
   */
  startMonitoring(interval?: Duration): void;
  stopMonitoring(): void;
  destroy(): void;
}
