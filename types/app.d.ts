// What createServer returns.

import type { Express } from 'express';
import type * as http from 'node:http';
import type * as net from 'node:net';
import type { ClusterConfig, ServableApp, ServerOptions } from './config';
import type { ClusterManager } from './manager';
import type { Messaging } from './messages';
import type { ClusterMetrics, HealthStatus, MetricsRegistry } from './metrics';
import type { ScalingDecision } from './scaling';
import type { Cache } from './cache';
import type { Fleet, FleetLead } from './fleet';
import type { WorkerInfo } from './worker';

/**
 * Called once the server listens. A callback with a parameter is also called with the error if the server cannot
 * listen, as in Express; for a callback without one, a failure is the server's 'error' event.
 */
type ListenCallback = (error?: Error) => void;

/** The options of Node.js' `server.listen`. */
export interface ListenOptions extends net.ListenOptions {
  /** The file descriptor of a listening socket in the primary. */
  fd?: number;
  /** Needs Node.js 22.12 or 23.1 and later. */
  reusePort?: boolean;
}

/**
 * The methods of a clustered application. They work in the primary and in every worker; a worker forwards them to the
 * primary. Without a cluster, information is about this process, messages are delivered to this process, and methods
 * that change the cluster reject with code `NOT_CLUSTERED`. Methods that this version does not support yet are declared
 * too: they reject, or throw if they are synchronous, with code `NOT_SUPPORTED`.
 */
export interface ClusterApp<Server extends net.Server = net.Server> extends Messaging {
  readonly isPrimary: boolean;
  readonly isWorker: boolean;
  /** This worker's id; undefined in the primary. */
  readonly workerId: string | undefined;
  readonly cluster: ClusterManager;

  /**
   * In the primary: resolves when every worker is ready, except those that have used up their restarts; rejects with
   * the first worker's error if none became ready. In a worker: resolves when it serves. The port may be 0 (any) or the
   * path of a unix socket.
   */
  start(port?: number | string, host?: string): Promise<void>;
  start(options: ListenOptions): Promise<void>;
  /**
   * The same with a callback, which runs once per process. Returns the server: in a worker the one that serves, in the
   * primary a server that represents those of the workers (its `address()` is theirs, it gets no connections, and its
   * `close()` closes the address in every worker; closing the last address ends the cluster). An application may listen
   * at several addresses. A backlog below 4096 is raised to 4096. With `exclusive` (or `reusePort`) each worker binds
   * its own socket, on which Node.js accepts.
   */
  listen(port: number | string, host: string, backlog: number, callback?: ListenCallback): Server;
  listen(port: number | string, host: string, callback?: ListenCallback): Server;
  listen(port: number | string, backlog: number, callback?: ListenCallback): Server;
  listen(port?: number | string, callback?: ListenCallback): Server;
  listen(options: ListenOptions, callback?: ListenCallback): Server;
  listen(callback: ListenCallback): Server;
  /** Stops what `start` started in this process; in the primary, the whole cluster. */
  close(callback?: ListenCallback): Promise<void>;
  /** The address it listens on; a path for a unix socket, null while it does not listen. */
  address(): net.AddressInfo | string | null;

  /** Adds workers; resolves when they serve. With `autoScaling`, within its bounds. @param count 1 */
  scaleUp(count?: number): Promise<void>;
  /** Removes workers; resolves when they have drained. With `autoScaling`, within its bounds. @param count 1 */
  scaleDown(count?: number): Promise<void>;
  scale(workers: number): Promise<void>;
  /**
   * One evaluation of the auto-scaling now; resolves with its decision, before the workers have changed. Cooldowns and
   * consecutive checks apply, and this is one of the checks. While `autoScaling` is off the decision says so.
   */
  autoScale(): Promise<ScalingDecision>;
  /**
   * The number of workers for the load of the last minute, within the memory budget, the usable CPUs (for a load bound
   * by CPU), and the bounds of `autoScaling` if it is on. Without a cluster: the number that it would begin with.
   */
  getOptimalWorkerCount(): Promise<number>;

  /**
   * Starts a new worker, then drains the old one; rejects with `WorkerStartupError` if the new one does not become
   * ready.
   */
  restartWorker(workerId: string | number): Promise<void>;
  /** Restarts every worker in this way, one slot after the other. */
  restartCluster(): Promise<void>;
  /**
   * In the primary: stops the cluster and resolves when every worker has ended. In a worker: drains that worker only,
   * which then exits with code 0. With `graceful` false workers are not drained. @param graceful true
   */
  stopCluster(graceful?: boolean): Promise<void>;
  /** Runs in a worker after its last request and before its exit, within the deadline of the stop. */
  onShutdown(hook: () => void | Promise<void>): void;
  /**
   * For work that continues after a response. A graceful stop of this process waits until the promise settles, within
   * the deadline of the stop; a rejection is written to standard error. In the primary this applies to a stop by a
   * signal.
   */
  waitUntil(promise: PromiseLike<unknown>): void;
  /**
   * Changes options of the running cluster: those of `resources` and `autoScaling`, `loadBalancing.admission`,
   * `processManagement.memoryThreshold` and `.cpuThreshold`, `security.limits.processes`, `cache.maxSize`. They apply at
   * once, `cache.maxSize` when the values are in other memory; V8's options to workers that are started from then on.
   * Rejects with `CONFIGURATION_INVALID`, or with `RESTART_REQUIRED` for an option that cannot change; nothing has
   * changed then.
   */
  updateConfig(config: Partial<ClusterConfig>): Promise<void>;

  getAllWorkers(): WorkerInfo[];
  getClusterMetrics(): Promise<ClusterMetrics>;
  getClusterHealth(): Promise<HealthStatus>;
  readonly metrics: MetricsRegistry;

  /** Whether this worker is the leader; at most one is. */
  readonly isLeader: boolean;
  /** Calls `callback` whenever this worker becomes the leader. */
  onLeader(callback: () => void | Promise<void>): void;
  /** Runs `task` in the leader only; resolves to undefined in other workers. */
  runOnce<T>(name: string, task: () => T | Promise<T>, options?: { scope?: 'cluster' }): Promise<T | undefined>;
  /** In the leader of the whole fleet: see {@link Fleet}. Rejects with `FLEET_UNAVAILABLE` while that cannot be known. */
  runOnce<T>(name: string, task: (lead: FleetLead) => T | Promise<T>, options: { scope: 'fleet' }): Promise<T | undefined>;

  /**
   * The cache that all processes of the cluster share. An Express application's own cache of views stays apart from it.
   */
  readonly cache: Cache;
  /** The machines that run this program, if there is `redis` in the configuration; else this one. */
  readonly fleet: Fleet;
  /** Removes the keys that match a pattern such as `user:*`, and tells every worker of every machine (`cache:invalidate`). */
  invalidateCache(pattern: string): Promise<void>;
}

/** An Express 5 application with the cluster's methods; its `listen` is the cluster's. */
export type ClusterExpress = ClusterApp<http.Server> & Express;

/** Clusters an application of another framework, or any Node.js server. */
export function createServer(options: ServerOptions & { app: ServableApp }): ClusterApp;
/** Creates an Express 5 application that can run as a cluster. */
export function createServer(options?: ServerOptions): ClusterExpress;
