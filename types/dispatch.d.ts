// Which worker gets a connection.

import type { Duration } from './units';

/**
 * - `round-robin`: each in turn.
 * - `least-connections`: whoever holds fewest.
 * - `ip-hash`: by the client's address; one worker more or less moves 1/N of the clients.
 * - `weighted-round-robin`: in turn, as often as `weights` says.
 * - `least-response-time`: the better of two, by peak EWMA.
 * - `os`: the kernel's own hash over the workers' listeners.
 */
export type LoadBalancingStrategy =
  'round-robin' | 'least-connections' | 'ip-hash' | 'weighted-round-robin' | 'least-response-time' | 'os';

/** The cookie that binds a client to a worker. Always HttpOnly and signed. */
export interface AffinityCookieConfig {
  /** @default 'drover_affinity' */
  name?: string;
  /** Signs the cookie. Without one: derived from `ipc.key`, else random with each start. */
  secret?: string | undefined;
  /** The browser forgets it after so long; without one, when it closes. */
  maxAge?: Duration;
  /** @default 'lax' */
  sameSite?: 'strict' | 'lax' | 'none';
  /** @default false */
  secure?: boolean;
}

export interface LoadBalancingConfig {
  /** @default 'round-robin' */
  strategy?: LoadBalancingStrategy;
  /**
   * Holds every listener in one mode: the primary chooses for each connection (`push`) or the kernel does
   * (`direct`). `auto` goes by the rate of new connections. @default 'auto'
   */
  dispatch?: 'auto' | 'push' | 'direct';
  /** Weights by slot: a list, or an object with worker ids. A slot without one has 1. */
  weights?: number[] | Record<string, number>;
  /** Give nothing new to workers that are stuck, unhealthy or draining. @default true */
  healthAware?: boolean;
  /** Count each worker's connections and requests. @default true */
  connectionTracking?: boolean;
  /** Move long-lived connections to lighter workers. @default true with the two `least-` strategies */
  rebalance?: boolean;
  /** Hand a draining worker's idle keep-alive connections to others instead of closing them. @default true */
  handoff?: boolean;
  /** Bind clients to workers; alone it means `sessionAffinity: 'ip'`. @default false */
  stickySession?: boolean;
  /** What binds a client to its worker. `cookie` needs plain HTTP in the worker. @default 'none' */
  sessionAffinity?: 'none' | 'ip' | 'cookie';
  affinityCookie?: AffinityCookieConfig;
  /**
   * Proxies whose X-Forwarded-For or Forwarded header names the client: addresses, networks such as
   * `'10.0.0.0/8'`, or `'loopback'`, `'linklocal'`, `'uniquelocal'`. @default false
   */
  trustProxy?: false | string | string[];
  /** Accepted connections that may wait while no worker may take one. @default 1024 */
  maxQueue?: number;
  /** How long one may wait; then 503 with Retry-After on plain HTTP, elsewhere a close. @default 5000 */
  queueTimeout?: Duration;
}
