// What createServer and ClusterManager take. The primary validates it before anything is spawned and reports
// all faults at once (`ConfigurationError`); the operator's environment variables win over it.

import type * as http from 'node:http';
import type * as http2 from 'node:http2';
import type * as https from 'node:https';
import type * as net from 'node:net';
import type { LoadBalancingConfig } from './dispatch';
import type { ErrorHandlingConfig, LoggingConfig, MonitoringConfig } from './observability';
import type { AutoScalingConfig } from './scaling';
import type { CacheConfig, IPCConfig, SecurityConfig } from './security';
import type { HealthCheckConfig, LimitsConfig, ProcessManagementConfig, ResourceConfig } from './supervision';
import type { Duration } from './units';

export interface ClusterConfig {
  /** @default false */
  enabled?: boolean;
  /**
   * How many. `'auto'`: the CPUs this process may use, no more than memory allows, less `reserveCores`;
   * `'max'`: every usable CPU. At most 1,024. @default 'auto'
   */
  workers?: number | 'auto' | 'max';
  /** CPUs that `'auto'` leaves free. @default 0 */
  reserveCores?: number;
  /**
   * Script that a worker runs: a path from the workers' folder, as Node finds it, or a file URL. Without one: the script that
   * runs now. One that is not there, or can never be a worker, is `NO_SCRIPT` before anything is started.
   */
  exec?: string | URL;
  /** Arguments of the script. */
  args?: string[];
  /** Arguments of the interpreter. */
  execArgv?: string[];
  /**
   * Variables of the workers, over those that the primary has when a worker is started, and over `NODE_APP_INSTANCE` and
   * `WORKER_ID`. null leaves a variable out. `CLUSTER_WORKER` and `DROVER_*` are drover's own.
   */
  env?: Record<string, string | number | boolean | null | undefined>;
  /**
   * Folder that a worker starts in, looked up anew by each, so that a moved link counts. Without one: the primary's when
   * the cluster is made, by the shell's path (`$PWD`) if that names it.
   */
  cwd?: string;
  /** Program that runs the script. */
  interpreter?: string;
  resources?: ResourceConfig;
  processManagement?: ProcessManagementConfig;
  healthCheck?: HealthCheckConfig;
  loadBalancing?: LoadBalancingConfig;
  ipc?: IPCConfig;
  /** Refused by this version. */
  autoScaling?: AutoScalingConfig;
  monitoring?: MonitoringConfig;
  logging?: LoggingConfig;
  errorHandling?: ErrorHandlingConfig;
  security?: SecurityConfig;
  /** Refused by this version. */
  cache?: CacheConfig;

  /** Synonym of `autoScaling`. Refused by this version. */
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

/** Every key of {@link ClusterConfig} may stand in `config` or directly beside `enabled`. */
export interface ClusterOptions extends ClusterConfig {
  config?: ClusterConfig;
}

export interface RedisOptions {
  /** Where any of the others is given: true. @default false */
  enabled?: boolean;
  url?: string | undefined;
  /** @default 'localhost' */
  host?: string | undefined;
  /** @default 6379 */
  port?: number | string | undefined;
  password?: string | undefined;
}

export type NodeRequestListener = (request: http.IncomingMessage, response: http.ServerResponse) => unknown;

/** Koa, as far as drover needs it. */
export interface KoaLike {
  callback(): (request: http.IncomingMessage, response: http.ServerResponse) => unknown;
}

/** Fastify, as far as drover needs it. */
export interface FastifyLike {
  server: net.Server;
  ready(): PromiseLike<unknown>;
  listen(options: any): PromiseLike<unknown>;
}

/** Nest, as far as drover needs it. */
export interface NestLike {
  init(): Promise<unknown>;
  getHttpServer(): any;
  listen(port: number | string, host: string): Promise<unknown>;
}

/** Hono, and what Bun serves. Under Node.js the application needs the package `@hono/node-server`. */
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
  /** Where `start()` and `listen()` serve when they name no port; before the environment's PORT. */
  port?: number | string | undefined;
  host?: string | undefined;
  /** Serve this instead of a new Express application. */
  app?: ServableApp;
  /** Options for `http.createServer`; with `key` and `cert` for `https.createServer`. */
  server?: http.ServerOptions | https.ServerOptions;
  /** Add `X-Worker-ID` and `X-Worker-PID` to HTTP/1 responses. @default true outside production */
  exposeWorkerHeaders?: boolean;
  /** Share sessions, cache and broadcasts with other machines; REDIS_URL and its kin fill in what is missing. Refused by this version. */
  redis?: boolean | string | RedisOptions;
  cluster?: ClusterOptions;
}
