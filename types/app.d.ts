// What createServer returns.

import type { Express } from 'express';
import type * as http from 'node:http';
import type * as net from 'node:net';
import type { ClusterConfig, ServableApp, ServerOptions } from './config';
import type { ClusterManager } from './manager';
import type { Messaging } from './messages';
import type { ClusterMetrics, HealthStatus, MetricsRegistry } from './metrics';
import type { ScalingDecision } from './scaling';
import type { Cache } from './security';
import type { WorkerInfo } from './worker';

/**
 * Called once the server listens. One that has a parameter is called with the error when it cannot, as Express
 * does; for one without, a failure is the server's 'error' event.
 */
type ListenCallback = (error?: Error) => void;

/** What Node.js' `server.listen` takes. */
export interface ListenOptions extends net.ListenOptions {
  /** A listening socket that the primary has under this number. */
  fd?: number;
  /** Where Node.js has it (22.12, 23.1). */
  reusePort?: boolean;
}

/**
 * The methods of a clustered application. They work in the primary and in every worker; in a worker they ask
 * the primary. Without a cluster, information is about this process, messages reach itself, and what would
 * change the cluster rejects with code `NOT_CLUSTERED`. What a version does not bring yet is here all the same:
 * its methods reject, or throw where they are synchronous, with code `NOT_SUPPORTED`.
 */
export interface ClusterApp<Server extends net.Server = net.Server> extends Messaging {
  readonly isPrimary: boolean;
  readonly isWorker: boolean;
  /** This worker's id; undefined in the primary. */
  readonly workerId: string | undefined;
  readonly cluster: ClusterManager;

  /**
   * In the primary: resolves when every worker is ready, or all but those that used up their restarts; rejects
   * with the first worker's error when none got ready. In a worker: resolves when it serves.
   * The port may be 0 (any) or the path of a unix socket.
   */
  start(port?: number | string, host?: string): Promise<void>;
  start(options: ListenOptions): Promise<void>;
  /**
   * The same with a callback, which runs once a process. Returns the server: in a worker the one that serves,
   * in the primary one that stands for the workers' (its `address()` is theirs, it takes no connection itself, and
   * its `close()` closes the address in every worker, with the last one the cluster ends). An application may listen
   * at several addresses. A backlog below 4096 is raised to that. With `exclusive` (or `reusePort`) each worker binds
   * a socket of its own, which Node.js' own code accepts on.
   */
  listen(port: number | string, host: string, backlog: number, callback?: ListenCallback): Server;
  listen(port: number | string, host: string, callback?: ListenCallback): Server;
  listen(port: number | string, backlog: number, callback?: ListenCallback): Server;
  listen(port?: number | string, callback?: ListenCallback): Server;
  listen(options: ListenOptions, callback?: ListenCallback): Server;
  listen(callback: ListenCallback): Server;
  /** Ends what `start` began in this process; in the primary, the whole cluster. */
  close(callback?: ListenCallback): Promise<void>;
  /** Where it serves; a path for a unix socket, null before and after. */
  address(): net.AddressInfo | string | null;

  /** Resolves when the new size serves. @param count 1 */
  scaleUp(count?: number): Promise<void>;
  /** Resolves when the leaving workers have drained. @param count 1 */
  scaleDown(count?: number): Promise<void>;
  scale(workers: number): Promise<void>;
  /** One evaluation now. */
  autoScale(): Promise<ScalingDecision>;
  getOptimalWorkerCount(): Promise<number>;

  /** A new worker gets ready before the old one leaves; rejects with `WorkerStartupError` when it does not. */
  restartWorker(workerId: string | number): Promise<void>;
  /** The same, slot by slot. */
  restartCluster(): Promise<void>;
  /**
   * In the primary: resolves when every worker is gone. In a worker: drains that worker alone, which then
   * exits with 0. `graceful` false drains nothing. @param graceful true
   */
  stopCluster(graceful?: boolean): Promise<void>;
  /** Runs in a worker after its last request and before its exit, within the deadline of the stop. */
  onShutdown(hook: () => void | Promise<void>): void;
  /**
   * Work that goes on after an answer. A process that stops in order ends when it is settled, within the deadline of the
   * stop; a rejection is written to standard error. In the primary: when it stops at a signal.
   */
  waitUntil(promise: PromiseLike<unknown>): void;
  /** Applies what can be applied while it runs; else rejects and says that a restart is needed. */
  updateConfig(config: Partial<ClusterConfig>): Promise<void>;

  getAllWorkers(): WorkerInfo[];
  getClusterMetrics(): Promise<ClusterMetrics>;
  getClusterHealth(): Promise<HealthStatus>;
  readonly metrics: MetricsRegistry;

  /** Whether this worker leads; at most one does. */
  readonly isLeader: boolean;
  /** Runs whenever this worker begins to lead. */
  onLeader(callback: () => void | Promise<void>): void;
  /** Runs `task` in one worker only; undefined in the others. */
  runOnce<T>(name: string, task: () => T | Promise<T>): Promise<T | undefined>;

  readonly cache: Cache;
  /** Removes the keys that a glob such as `user:*` matches, in all workers. */
  invalidateCache(pattern: string): Promise<void>;
}

/** An Express 5 application with the cluster's methods; its `listen` is the cluster's. */
export type ClusterExpress = ClusterApp<http.Server> & Express;

/** Clusters an application of another framework, or any Node.js server. */
export function createServer(options: ServerOptions & { app: ServableApp }): ClusterApp;
/** Makes an Express 5 application that can run as a cluster. */
export function createServer(options?: ServerOptions): ClusterExpress;
