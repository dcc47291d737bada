// Scaling: the number of workers.

import type { Duration, Timestamp } from './units';

/** When to add workers: above any of these. */
export interface ScaleUpThreshold {
  /** Percent: the larger of CPU and mean event-loop utilisation. @default 75 */
  cpu?: number;
  /** Percent of the memory budget. @default 80 */
  memory?: number;
  /** 95th percentile of the response times, in milliseconds. @default 1500 */
  responseTime?: Duration;
  /** Connections that wait. @default 100 */
  queueLength?: number;
  /** Evaluations in a row that must agree. @default 2 */
  consecutiveChecks?: number;
}

/** When to remove workers: below all of these. */
export interface ScaleDownThreshold {
  /** Percent: the larger of CPU and mean event-loop utilisation. @default 25 */
  cpu?: number;
  /** Percent of the memory budget. @default 40 */
  memory?: number;
  /** How long the load must have been low; doubled after each flap, up to 16 times. @default '5m' */
  idleTime?: Duration;
  /** @default 3 */
  consecutiveChecks?: number;
}

export interface AutoScalingConfig {
  /** @default false */
  enabled?: boolean;
  /** @default 1 */
  minWorkers?: number;
  /** Default: the number of usable CPUs. */
  maxWorkers?: number;
  /** The criterion. Default: whichever triggers first. */
  strategy?: 'cpu' | 'memory' | 'requests';
  /** A number alone is a CPU threshold in percent. */
  scaleUpThreshold?: number | ScaleUpThreshold;
  /** A number alone is a CPU threshold in percent. */
  scaleDownThreshold?: number | ScaleDownThreshold;
  /** Pause after any scaling; sets both of the following. */
  cooldownPeriod?: Duration;
  /** @default 60000 */
  scaleUpCooldown?: Duration;
  /** @default 300000 */
  scaleDownCooldown?: Duration;
  /** Workers added or removed at a time; sets both of the following. */
  scaleStep?: number;
  /** Exactly so many workers more at a time. Default: in proportion to the load, at most doubling. */
  scaleUpIncrement?: number;
  /** Exactly so many workers fewer at a time. Default: 1. */
  scaleDownIncrement?: number;
  /** At least a second. @default 2000 */
  evaluationInterval?: Duration;
  /** Fraction by which the load may differ from its target without scaling. @default 0.1 */
  tolerance?: number;
  /** Percent of the memory budget above which workers are added. Default: `scaleUpThreshold.memory`. */
  memoryThreshold?: number;
  /** The percentage that a step for memory aims at. Default: the threshold. */
  memoryTarget?: number;
  /** Target number of requests in flight per worker. */
  requestsPerWorker?: number;
  /** The same as `scaleUpThreshold.responseTime`, which it overrides. */
  responseTimeThreshold?: Duration;
}

/** The load of a window; later seconds weigh more. */
export interface ScalingLoad {
  /** Workers that the load would keep busy all the time, with the work that waits for saturated event loops. */
  demand: number;
  /** Percent of the CPU that the workers can use. */
  cpu: number;
  /** Percent, the mean of the workers. */
  eventLoopUtilization: number;
  /** Requests in flight. */
  inFlight: number;
  /** Connections in drover's queue. */
  queueLength: number;
  /** 95th percentile of the response times, in milliseconds; null without a response. */
  p95: number | null;
}

/** What an evaluation saw. Memory in bytes. */
export interface ScalingInputs {
  ready: number;
  starting: number;
  /** The last 60 s. */
  stable: ScalingLoad;
  /** The last 6 s. */
  panic: ScalingLoad;
  /** Of all workers. */
  memory: number;
  /** The memory budget, and what is left of it; null: unknown. */
  memoryBudget: number | null;
  memoryFree: number | null;
  /** Of a ready worker, the mean. */
  footprint: number;
  usableCpus: number;
  /**
   * Percent of the last 10 s in which a task waited for a CPU: of the primary's control group in version 2, otherwise of
   * the machine. Null: the kernel does not say.
   */
  cpuPressure: number | null;
  /** For how long the load has been low, in milliseconds; null: it is not. */
  idleTime: number | null;
}

/** What called for the number of workers. */
export type ScalingRule =
  | 'bounds'
  | 'cpu'
  | 'memory'
  | 'requests'
  | 'responseTime'
  | 'queueLength'
  | 'idle'
  | 'none'
  | 'manual'
  | 'off';

/** Why a change was not made, or made in part. */
export type ScalingHold =
  | 'checks'
  | 'cooldown'
  | 'maxWorkers'
  | 'minWorkers'
  | 'usableCpus'
  | 'cpuPressure'
  | 'memoryBudget'
  | 'memoryStep'
  | 'idleTime'
  | 'panic'
  | 'starting'
  | 'rest';

/** A decision about the number of workers, and why. */
export interface ScalingDecision {
  action: 'up' | 'down' | 'none';
  /** Workers before. */
  from: number;
  /** Workers after. */
  to: number;
  /** A sentence for people. */
  reason: string;
  timestamp: Timestamp;
  /** Of the auto-scaling, like the following; absent from changes by hand and from `lastScalingAction`. */
  rule?: ScalingRule;
  hold?: ScalingHold | null;
  /** The window of 6 s decides, without cooldown or consecutive checks, and no worker is removed. */
  panic?: boolean;
  inputs?: ScalingInputs;
}
