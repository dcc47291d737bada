// Scaling: the number of workers.

import type { Duration, Timestamp } from './units';

/** When to add workers. CPU and memory in percent of the usable amount, times in milliseconds. */
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
  /** How long the load must have been low. @default '5m' */
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
  /** @default 1 */
  scaleUpIncrement?: number;
  /** @default 1 */
  scaleDownIncrement?: number;
  /** @default 15000 */
  evaluationInterval?: Duration;
  /** Fraction by which the load may differ from its target without scaling. @default 0.1 */
  tolerance?: number;
  /** Percent of memory above which `strategy: 'memory'` scales up. */
  memoryThreshold?: number;
  /** Target of `strategy: 'memory'`, in percent of memory. */
  memoryTarget?: number;
  /** Target of `strategy: 'requests'`, in concurrent requests per worker. */
  requestsPerWorker?: number;
  /** Response time in milliseconds above which `strategy: 'requests'` scales up. */
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
