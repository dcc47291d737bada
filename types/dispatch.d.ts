// Load balancing: which worker gets a connection.

import type { Duration } from './units';

/**
 * - `round-robin`: each worker in turn.
 * - `least-connections`: the worker with the fewest open connections.
 * - `ip-hash`: by the client's address; adding or removing a worker moves 1/N of the clients.
 * - `weighted-round-robin`: in turn, in proportion to `weights`.
 * - `least-response-time`: the better of two random workers, by peak EWMA.
 * - `os`: the kernel's own hash over the workers' listeners (SO_REUSEPORT).
 */
export type LoadBalancingStrategy =
  'round-robin' | 'least-connections' | 'ip-hash' | 'weighted-round-robin' | 'least-response-time' | 'os';

/** The cookie that binds a client to a worker. Always HttpOnly and signed. */
export interface AffinityCookieConfig {
  /** @default 'drover_affinity' */
  name?: string;
  /** Signs the cookie. Default: derived from `ipc.key`, else random at each start. */
  secret?: string | undefined;
  /** How long the browser keeps the cookie. Default: until it closes. */
  maxAge?: Duration;
  /** @default 'lax' */
  sameSite?: 'strict' | 'lax' | 'none';
  /** @default false */
  secure?: boolean;
}

/** What is refused while all workers are saturated. */
export interface AdmissionConfig {
  /** What waits longer before its handler is refused. @default 50 */
  targetDelay?: Duration;
  /** Paths that are never refused, without a query, beside `healthCheck.endpoint`. @default ['/health', '/ready'] */
  exempt?: string[];
}

export interface LoadBalancingConfig {
  /** @default 'round-robin' */
  strategy?: LoadBalancingStrategy;
  /**
   * Fixes every listener to one mode: the primary chooses the worker of each connection (`push`) or the kernel does
   * (`direct`). `auto` switches by the rate of new connections. @default 'auto'
   */
  dispatch?: 'auto' | 'push' | 'direct';
  /** Weights by slot: a list, or an object with worker ids as keys. The default weight is 1. */
  weights?: number[] | Record<string, number>;
  /** Give no new connections to workers that are unresponsive, unhealthy or draining. @default true */
  healthAware?: boolean;
  /** Count each worker's connections and requests. @default true */
  connectionTracking?: boolean;
  /** Move long-lived connections to lighter workers. @default true with the two `least-` strategies */
  rebalance?: boolean;
  /** Hand a draining worker's idle keep-alive connections to others instead of closing them. @default true */
  handoff?: boolean;
  /** Bind clients to workers; without `sessionAffinity` it means `'ip'`. @default false */
  stickySession?: boolean;
  /** What binds a client to its worker. `cookie` needs plain HTTP in the worker. @default 'none' */
  sessionAffinity?: 'none' | 'ip' | 'cookie';
  affinityCookie?: AffinityCookieConfig;
  /**
   * Proxies whose X-Forwarded-For or Forwarded header names the client: addresses, networks such as
   * `'10.0.0.0/8'`, or `'loopback'`, `'linklocal'`, `'uniquelocal'`. @default false
   */
  trustProxy?: false | string | string[];
  /** Accepted connections that may wait while no worker can take one. @default 1024 */
  maxQueue?: number;
  /**
   * How long a connection may wait; then it gets 503 with Retry-After on plain HTTP, and is closed otherwise.
   * @default 5000
   */
  queueTimeout?: Duration;
  /**
   * `adaptive`, or an object with its settings: while all workers are saturated, drover answers 503 with Retry-After
   * (`errorHandling.fallback`) instead of letting requests wait too long. `updateConfig()` changes it while the cluster
   * runs. @default 'off'
   */
  admission?: 'off' | 'adaptive' | AdmissionConfig;
}
