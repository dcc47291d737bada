// How many workers there are.

import type { Duration, Timestamp } from './units';

/** When to add workers. CPU and memory in percent of what is usable, times in milliseconds. */
export interface ScaleUpThreshold {
  /** @default 75 */
  cpu?: number;
  /** @default 80 */
  memory?: number;
  /** Average response time in milliseconds. @default 1500 */
  responseTime?: number;
  /** Requests and connections that wait. @default 100 */
  queueLength?: number;
  /** Evaluations in a row that must agree. @default 2 */
  consecutiveChecks?: number;
}

/** When to remove workers. */
export interface ScaleDownThreshold {
  /** @default 25 */
  cpu?: number;
  /** @default 40 */
  memory?: number;
  /** How long it must have been quiet. @default '5m' */
  idleTime?: Duration;
  /** @default 3 */
  consecutiveChecks?: number;
}

export interface AutoScalingConfig {
  /** @default false */
  enabled?: boolean;
  /** @default 1 */
  minWorkers?: number;
  /** Without one: as many as there are usable CPUs. */
  maxWorkers?: number;
  /** What decides; without one, whichever triggers first. */
  strategy?: 'cpu' | 'memory' | 'requests';
  /** A number alone is a CPU threshold in percent. */
  scaleUpThreshold?: number | ScaleUpThreshold;
  /** A number alone is a CPU threshold in percent. */
  scaleDownThreshold?: number | ScaleDownThreshold;
  /** Quiet time after any scaling: both of the following in one. */
  cooldownPeriod?: Duration;
  /** @default 60000 */
  scaleUpCooldown?: Duration;
  /** @default 300000 */
  scaleDownCooldown?: Duration;
  /** Workers added or removed at a time: both of the following in one. */
  scaleStep?: number;
  /** @default 1 */
  scaleUpIncrement?: number;
  /** @default 1 */
  scaleDownIncrement?: number;
  /** @default 15000 */
  evaluationInterval?: Duration;
  /** Fraction by which a load may miss its target before anything is done. @default 0.1 */
  tolerance?: number;
  /** Percent of memory above which `strategy: 'memory'` scales up. */
  memoryThreshold?: number;
  /** Percent of memory that `strategy: 'memory'` aims at. */
  memoryTarget?: number;
  /** Concurrent requests a worker that `strategy: 'requests'` aims at. */
  requestsPerWorker?: number;
  /** Response time in milliseconds above which `strategy: 'requests'` scales up. */
  responseTimeThreshold?: Duration;
}

/** What one evaluation decided, and why. */
export interface ScalingDecision {
  action: 'up' | 'down' | 'none';
  /** Workers before. */
  from: number;
  /** Workers wanted now. */
  to: number;
  /** A sentence for people. */
  reason: string;
  timestamp: Timestamp;
}
