// What keeps workers alive: their processes, their resources, their health.

import type { Duration, Size } from './units';
import type { WorkerInfo } from './worker';

/** How worker processes start, end and come back. */
export interface ProcessManagementConfig {
  /** Replace a worker that died, whatever killed it. @default true */
  respawn?: boolean;
  /** Synonym of `respawn`. */
  autoRestart?: boolean;
  /**
   * Deaths within `restartWindow` that open a slot's restart circuit when there are more of them. The slot is
   * then tried again every `errorHandling.circuitBreaker.resetTimeout`. @default 3
   */
  maxRestarts?: number;
  /** The span in which deaths are counted. @default '5m' */
  restartWindow?: Duration;
  /** Wait before the second and each further restart in the window; doubles, with jitter. @default 2000 */
  restartDelay?: Duration;
  /** What `restartDelay` doubles up to. @default 30000 */
  maxRestartDelay?: Duration;
  /** Let workers finish their requests before they end. @default true */
  gracefulShutdown?: boolean;
  /** The whole budget of a stop: `shutdownDelay`, drain and hooks. At its end stands SIGKILL. @default 30000 */
  gracefulShutdownTimeout?: Duration;
  /** Synonym of `gracefulShutdownTimeout`. */
  shutdownTimeout?: Duration;
  /** `/ready` answers 503 for so long before anything stops serving: load balancers look away first. @default 0 */
  shutdownDelay?: Duration;
  /** The last part of the budget, which begins with SIGTERM. @default 5000 */
  killTimeout?: Duration;
  /**
   * A worker that leaves and has nothing left to do waits so long for its event loop to become empty, then it exits and
   * the log names what was left; 0: it does not wait. @default 5000
   */
  lingerTimeout?: Duration;
  /** How long a worker may take until it is ready. @default 60000 */
  startupTimeout?: Duration;
  /**
   * What makes a worker ready: it listens, it says `process.send('ready')`, or its script has loaded. The
   * replacement of a worker that serves is ready with 'listen' and 'boot' when it has also opened every address that
   * its predecessor serves.
   * @default 'listen'
   */
  ready?: 'listen' | 'message' | 'boot';
  /**
   * An event loop that answers nothing for so long, once its worker is ready, is hung: what it was doing goes
   * into the log and its worker is replaced. Never one that a debugger may have stopped; 0 switches it off.
   * @default 10000
   */
  hangTimeout?: Duration;
  /** As PID 1 of a container: reap the orphans that the kernel gives to it. Workers are reaped anyway. @default true */
  zombieDetection?: boolean;
  /** Soft limit on a worker's RSS: graceful replacement after three samples above. Refused by this version. */
  memoryThreshold?: Size;
  /** Soft limit on a worker's CPU, in percent of one core: graceful replacement after three samples above. Refused by this version. */
  cpuThreshold?: number;
  /** Warm spares, loaded up to their `listen()`. @default 0 */
  standbyWorkers?: number;
}

/** Memory of the cluster as a whole. Thresholds in percent. */
export interface MemoryConfig {
  /** @default true */
  enabled?: boolean;
  /** Most RSS of all workers together. */
  maxTotalMemory?: Size;
  /** @default 30000 */
  memoryCheckInterval?: Duration;
  /** @default 80 */
  memoryWarningThreshold?: number;
  /** @default 95 */
  memoryCriticalThreshold?: number;
  /** @default true */
  memoryLeakDetection?: boolean;
  /** @default false */
  garbageCollectionHint?: boolean;
  /** Never scale up below this much free memory. */
  memoryReservation?: Size;
}

/** Short names for the limits of {@link ResourceConfig}. */
export interface LimitsConfig {
  /** RSS of a worker, as a number of **MB** or a text such as `'512MB'`; at least 32 MB. */
  memory?: Size;
  /** CPU of a worker, in percent of one core. */
  cpu?: number;
  /** Requests in a worker's life. */
  requests?: number;
  /** Connections a worker holds at once. */
  connections?: number;
}

/** What a worker may use. */
export interface ResourceConfig {
  /** RSS of a worker; at least 32 MB. Above it the worker is replaced gracefully, one at a time. Refused by this version. */
  maxMemoryPerWorker?: Size;
  /** CPU of a worker in percent of one core. Above it for a minute: an alert, and less new work. Refused by this version. */
  maxCpuPerWorker?: number;
  /** Requests in a worker's life, with 10 % jitter; then it is replaced gracefully. Refused by this version. */
  maxRequestsPerWorker?: number;
  /** Connections a worker holds at once; the rest wait in drover's queue (`loadBalancing.maxQueue`). */
  maxConnectionsPerWorker?: number;
  /** Scheduling priority: nice +10, 0 or -5. Refused by this version. @default 'normal' */
  priorityLevel?: 'low' | 'normal' | 'high';
  /** Refused by this version. */
  memoryManagement?: MemoryConfig;
  /** Refused by this version. */
  enforcement?: {
    /** Let the kernel enforce the limits (cgroups) where it is delegated. @default false */
    enforceHardLimits?: boolean;
    /** SIGKILL at once instead of a graceful replacement. @default false */
    killOnMemoryExceed?: boolean;
    /** @default false */
    killOnCpuExceed?: boolean;
  };
  /** Refused by this version. */
  performanceOptimization?: {
    /** V8's flags for a small heap. @default false */
    lowMemoryMode?: boolean;
    /** Pin workers to cores. @default false */
    cpuOptimization?: boolean;
    /** Raise the I/O priority. @default false */
    ioOptimization?: boolean;
  };
}

/** What a health check of the user's says. */
export interface CustomHealthResult {
  healthy: boolean;
  /** Kept with the worker and shown where its health is. */
  metrics?: Record<string, unknown>;
}

/** Runs in the worker it asks about; a throw or a timeout counts as a failure. */
export type CustomHealthCheck = (
  worker: WorkerInfo,
) => boolean | CustomHealthResult | Promise<boolean | CustomHealthResult>;

/**
 * When a worker counts as healthy. Each check asks its first HTTP server, over a connection that leads to that worker
 * alone and is counted nowhere, and its event loop.
 */
export interface HealthCheckConfig {
  /** @default true */
  enabled?: boolean;
  /** @default 30000 */
  interval?: Duration;
  /** @default 10000 */
  timeout?: Duration;
  /** Failures in a row after which a worker gets no new connections and is replaced. @default 3 */
  maxFailures?: number;
  /** Synonym of `maxFailures`. */
  retries?: number;
  /** Wait between a failed check and the next. @default 1000 */
  retryDelay?: Duration;
  /** The first check comes so long and an interval after the worker got ready. @default 0 */
  gracePeriod?: Duration;
  /** Path that is asked. When neither this nor `expectedStatus` is given, any HTTP answer counts. @default '/health' */
  endpoint?: string;
  /** Status that the endpoint answers when all is well. @default 200 */
  expectedStatus?: number;
  customCheck?: CustomHealthCheck;
}
