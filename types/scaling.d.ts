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

/** What one evaluation decided, and why. */
export interface ScalingDecision {
  action: 'up' | 'down' | 'none';
  /** Workers before. */
  from: number;
  /** Workers after. */
  to: number;
  /** A sentence for people. */
  reason: string;
  timestamp: Timestamp;
}
