// Supervision of workers: processes, resources, health.

import type { Duration, Size } from './units';
import type { WorkerInfo } from './worker';

/** How worker processes are started, stopped and restarted. */
export interface ProcessManagementConfig {
  /** Replace a worker that died, whatever killed it. @default true */
  respawn?: boolean;
  /** Synonym of `respawn`. */
  autoRestart?: boolean;
  /**
   * More deaths than this within `restartWindow` open the slot's restart circuit. The slot then gets a trial start
   * every `errorHandling.circuitBreaker.resetTimeout`. @default 3
   */
  maxRestarts?: number;
  /** The time window in which deaths are counted. @default '5m' */
  restartWindow?: Duration;
  /** Delay before the second and each further restart in the window; doubled each time, with jitter. @default 2000 */
  restartDelay?: Duration;
  /** Upper limit of the doubled `restartDelay`. @default 30000 */
  maxRestartDelay?: Duration;
  /** Let workers finish their requests before they end. @default true */
  gracefulShutdown?: boolean;
  /**
   * Total time of a stop: `shutdownDelay`, drain and hooks. Workers that still run at its end get SIGKILL.
   * @default 30000
   */
  gracefulShutdownTimeout?: Duration;
  /** Synonym of `gracefulShutdownTimeout`. */
  shutdownTimeout?: Duration;
  /**
   * How long `/ready` responds 503 before anything stops serving, so that load balancers stop routing first. @default 0
   */
  shutdownDelay?: Duration;
  /** Workers that still run get SIGTERM this long before the end of `gracefulShutdownTimeout`. @default 5000 */
  killTimeout?: Duration;
  /**
   * How long a draining worker that has nothing left to do waits for its event loop to become empty. Then it exits and
   * the log names the remaining handles; 0: it does not wait. @default 5000
   */
  lingerTimeout?: Duration;
  /** How long a worker may take to become ready. @default 60000 */
  startupTimeout?: Duration;
  /**
   * What makes a worker ready: it listens, it calls `process.send('ready')`, or its script has loaded. With 'listen'
   * and 'boot' the replacement of a serving worker must also have opened every address that its predecessor serves.
   * @default 'listen'
   */
  ready?: 'listen' | 'message' | 'boot';
  /**
   * A ready worker whose event loop does not respond for this long is hung: its stack is logged and it is replaced.
   * Workers that a debugger may have stopped are excepted; 0 switches this off.
   * @default 10000
   */
  hangTimeout?: Duration;
  /** As PID 1 of a container: reap orphaned processes. Workers are always reaped. @default true */
  zombieDetection?: boolean;
  /** Soft limit on a worker's RSS: graceful replacement after three samples above it, like `maxMemoryPerWorker`. */
  memoryThreshold?: Size;
  /**
   * Soft limit on a worker's CPU, in percent of one core: graceful replacement after three samples above it.
   */
  cpuThreshold?: number;
  /** Number of standby workers, loaded up to their `listen()`. @default 0 */
  standbyWorkers?: number;
}

/** Memory of the cluster as a whole. Thresholds in percent. */
export interface MemoryConfig {
  /** @default true */
  enabled?: boolean;
  /** Maximum RSS of all workers together. */
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
  /**
   * Sample the allocations of a worker that seems to leak. The profile is kept as
   * `logs/drover-heap-<slot>-<time>.heapprofile` in the primary's working directory, and the log names the functions that
   * hold most, with file and line. @default false
   */
  evidence?: boolean;
  /** Never scale up below this much free memory. */
  memoryReservation?: Size;
}

/** Short names for the limits of {@link ResourceConfig}. */
export interface LimitsConfig {
  /** RSS of a worker, as a number of **MB** or a string such as `'512MB'`; at least 32 MB. */
  memory?: Size;
  /** CPU of a worker, in percent of one core. */
  cpu?: number;
  /** Requests in a worker's life. */
  requests?: number;
  /** Concurrent connections of a worker. */
  connections?: number;
}

/** Limits of a worker. */
export interface ResourceConfig {
  /**
   * RSS of a worker; at least 32 MB. Above it in three samples, one a second, the worker is replaced gracefully, one at
   * a time. Workers get a matching `--max-old-space-size` unless you set one.
   */
  maxMemoryPerWorker?: Size;
  /**
   * CPU of a worker in percent of one core. Above it for a minute: an alert, and fewer new connections; replaced if the
   * others use less than half as much.
   */
  maxCpuPerWorker?: number;
  /** Requests in a worker's life, less up to 10 %; then it is replaced gracefully, one worker at a time. */
  maxRequestsPerWorker?: number;
  /** Time since a worker's start, less up to 10 %; then it is replaced gracefully, one worker at a time. */
  maxAgePerWorker?: Duration;
  /** Concurrent connections of a worker; further ones wait in drover's queue (`loadBalancing.maxQueue`). */
  maxConnectionsPerWorker?: number;
  /** Scheduling priority: nice +10, 0 or -5 more than the primary's. @default 'normal' */
  priorityLevel?: 'low' | 'normal' | 'high';
  memoryManagement?: MemoryConfig;
  enforcement?: {
    /**
     * Hard limits: a worker above 110 % of `maxMemoryPerWorker` is ended, 110 % of `maxCpuPerWorker` is a quota, and at
     * `maxTotalMemory` a worker is killed. By control groups below the primary's own where it has some; memory otherwise
     * by a sampler, four times a second.
     * @default false
     */
    enforceHardLimits?: boolean;
    /** SIGKILL above `maxMemoryPerWorker` at once instead of a graceful replacement. @default false */
    killOnMemoryExceed?: boolean;
    /** SIGKILL after a minute above `maxCpuPerWorker`. @default false */
    killOnCpuExceed?: boolean;
  };
  performanceOptimization?: {
    /** V8's flags for a small heap. @default false */
    lowMemoryMode?: boolean;
    /** Pin each worker to one of the CPUs that the primary may use. @default false */
    cpuOptimization?: boolean;
    /** The highest I/O priority that needs no privilege. @default false */
    ioOptimization?: boolean;
  };
}

/** The result of a custom health check. */
export interface CustomHealthResult {
  healthy: boolean;
  /** Published in `WorkerInfo.health`. */
  metrics?: Record<string, unknown>;
}

/** Runs in the worker that it checks; an exception or a timeout counts as a failure. */
export type CustomHealthCheck = (
  worker: WorkerInfo,
) => boolean | CustomHealthResult | Promise<boolean | CustomHealthResult>;

/**
 * When a worker counts as healthy. Each check sends a request to its first HTTP server, over a direct connection that
 * is not counted in metrics, and tests its event loop.
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
  /** Delay between a failed check and the next. @default 1000 */
  retryDelay?: Duration;
  /** The first check runs this long plus one interval after the worker became ready. @default 0 */
  gracePeriod?: Duration;
  /**
   * Path of the request. If neither this nor `expectedStatus` is given, any HTTP response counts. @default '/health'
   */
  endpoint?: string;
  /** Status of a healthy response. @default 200 */
  expectedStatus?: number;
  customCheck?: CustomHealthCheck;
}
