// The options of createServer and ClusterManager. The primary validates them before it spawns anything and reports all
// faults at once (`ConfigurationError`); environment variables override them.

import type * as http from 'node:http';
import type * as http2 from 'node:http2';
import type * as https from 'node:https';
import type * as net from 'node:net';
import type { LoadBalancingConfig } from './dispatch';
import type { ErrorHandlingConfig, LoggingConfig, MonitoringConfig } from './observability';
import type { AutoScalingConfig } from './scaling';
import type { CacheConfig } from './cache';
import type { RedisOptions } from './fleet';
import type { IPCConfig, SecurityConfig } from './security';
import type { HealthCheckConfig, LimitsConfig, ProcessManagementConfig, ResourceConfig } from './supervision';
import type { Duration } from './units';

export interface ClusterConfig {
  /** @default false */
  enabled?: boolean;
  /**
   * Number of workers. `'auto'`: the CPUs this process may use, less `reserveCores`, limited by memory; `'max'`: every
   * usable CPU. At most 1,024. @default 'auto'
   */
  workers?: number | 'auto' | 'max';
  /** CPUs that `'auto'` leaves free. @default 0 */
  reserveCores?: number;
  /**
   * The script that a worker runs: a path relative to the workers' folder, resolved as Node does, or a file URL.
   * Default: the current script. If it does not exist or cannot run as a worker, the start fails with `NO_SCRIPT`
   * before anything is started.
   */
  exec?: string | URL;
  /** Arguments of the script. */
  args?: string[];
  /** Arguments of the interpreter. */
  execArgv?: string[];
  /**
   * Environment variables of the workers. They override those that the primary has when a worker starts, and
   * `NODE_APP_INSTANCE` and `WORKER_ID`. null removes a variable. `CLUSTER_WORKER` and `DROVER_*` are reserved.
   */
  env?: Record<string, string | number | boolean | null | undefined>;
  /**
   * Working directory of a worker, resolved by each worker at its start, so that a changed symbolic link takes effect.
   * Default: the primary's when the cluster is created, as the shell's path (`$PWD`) if that names the same folder.
   */
  cwd?: string;
  /** Program that runs the script. */
  interpreter?: string;
  resources?: ResourceConfig;
  processManagement?: ProcessManagementConfig;
  healthCheck?: HealthCheckConfig;
  loadBalancing?: LoadBalancingConfig;
  ipc?: IPCConfig;
  autoScaling?: AutoScalingConfig;
  monitoring?: MonitoringConfig;
  logging?: LoggingConfig;
  errorHandling?: ErrorHandlingConfig;
  security?: SecurityConfig;
  /** The cache that all processes share. */
  cache?: CacheConfig;
  /** The primaries of all machines with this Redis and prefix are one fleet. It may also stand beside `cluster`. */
  redis?: boolean | string | RedisOptions;

  /** Synonym of `autoScaling`. */
  scaling?: AutoScalingConfig;
  /** Synonym of the limits in `resources`. */
  limits?: LimitsConfig;
  /** Synonym of `processManagement.respawn`. */
  respawn?: boolean;
  /** Synonym of `processManagement.respawn`. */
  autoRestart?: boolean;
  /** Synonym of `processManagement.maxRestarts`. */
  maxRestarts?: number;
  /** Synonym of `processManagement.restartWindow`. */
  restartWindow?: Duration;
  /** Synonym of `processManagement.restartDelay`. */
  restartDelay?: Duration;
  /** Synonym of `processManagement.maxRestartDelay`. */
  maxRestartDelay?: Duration;
  /** Synonym of `processManagement.gracefulShutdown`. */
  gracefulShutdown?: boolean;
  /** Synonym of `processManagement.gracefulShutdownTimeout`. */
  gracefulShutdownTimeout?: Duration;
  /** Synonym of `processManagement.gracefulShutdownTimeout`. */
  shutdownTimeout?: Duration;
  /** Synonym of `processManagement.shutdownDelay`. */
  shutdownDelay?: Duration;
  /** Synonym of `processManagement.killTimeout`. */
  killTimeout?: Duration;
  /** Synonym of `processManagement.lingerTimeout`. */
  lingerTimeout?: Duration;
  /** Synonym of `processManagement.startupTimeout`. */
  startupTimeout?: Duration;
}

/** Every key of {@link ClusterConfig} may be in `config` or next to `enabled`. */
export interface ClusterOptions extends ClusterConfig {
  config?: ClusterConfig;
}

export type NodeRequestListener = (request: http.IncomingMessage, response: http.ServerResponse) => unknown;

/** The part of a Koa application that drover uses. */
export interface KoaLike {
  callback(): (request: http.IncomingMessage, response: http.ServerResponse) => unknown;
}

/** The part of a Fastify application that drover uses. */
export interface FastifyLike {
  server: net.Server;
  ready(): PromiseLike<unknown>;
  listen(options: any): PromiseLike<unknown>;
}

/** The part of a Nest application that drover uses. */
export interface NestLike {
  init(): Promise<unknown>;
  getHttpServer(): any;
  listen(port: number | string, host: string): Promise<unknown>;
}

/** Hono, and other applications with `fetch`. On Node.js the package `@hono/node-server` is needed. */
export interface FetchLike {
  fetch(request: Request, ...rest: any[]): Response | Promise<Response>;
}

/** Feathers, express-ws, Polka, restify: started by its own `listen`, which opens a server of Node.js. */
export interface ListenLike {
  listen(...args: any[]): any;
}

/** What `createServer({ app })` serves. */
export type ServableApp =
  | NodeRequestListener
  | net.Server
  | http.Server
  | https.Server
  | http2.Http2Server
  | http2.Http2SecureServer
  | KoaLike
  | FastifyLike
  | NestLike
  | FetchLike
  | ListenLike;

export interface ServerOptions {
  /** The port if `start()` and `listen()` are given none; takes precedence over the variable PORT. */
  port?: number | string | undefined;
  host?: string | undefined;
  /** Serve this instead of a new Express application. */
  app?: ServableApp;
  /** Options for `http.createServer`; with `key` and `cert` for `https.createServer`. */
  server?: http.ServerOptions | https.ServerOptions;
  /** Add `X-Worker-ID` and `X-Worker-PID` to HTTP/1 responses. @default true outside production */
  exposeWorkerHeaders?: boolean;
  /**
   * The primaries of all machines with this Redis and prefix are one fleet: broadcasts, invalidations, sessions, limits and
   * one leader. REDIS_URL and the other REDIS_ variables supply missing options.
   */
  redis?: boolean | string | RedisOptions;
  cluster?: ClusterOptions;
}
