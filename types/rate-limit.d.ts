// drover/rate-limit: the shared cache, or with a fleet Redis, as a store of express-rate-limit.

import type { ClientRateLimitInfo, Options, Store } from 'express-rate-limit';
import type { CacheSource } from './cache';

export interface RateLimitStoreOptions {
  /** Begins the keys of this limiter: limiters with the same one count together. Without `*`. @default 'rl:' */
  prefix?: string;
  /**
   * `fixed`: a client's window begins with its first request. `sliding`: the requests of the last `windowMs`, estimated
   * from the current window and the one before, as much of it as is not over. @default 'fixed'
   */
  window?: 'fixed' | 'sliding';
}

/**
 * `rateLimit({ store: new DroverStore(app) })`: the counts are exact in all processes of a cluster together, and with
 * `redis` in the configuration in those of all machines.
 *
 * While Redis is away: with `redis.onFailure: 'local'` each machine counts for itself; with 'refuse' the methods fail with
 * the code `FLEET_UNAVAILABLE`, and the limiter with them, unless its option `passOnStoreError` is set.
 */
export class DroverStore implements Store {
  /** An app or its cache: the namespace `rate-limit` of it is used; a namespace of the cache is used itself. */
  constructor(source: CacheSource, options?: RateLimitStoreOptions);
  readonly localKeys: false;
  readonly prefix: string;
  init(options: Options): void;
  get(key: string): Promise<ClientRateLimitInfo | undefined>;
  /** `resetTime` of a sliding window is the end of the current one. */
  increment(key: string): Promise<ClientRateLimitInfo>;
  /** A count is never below 0. */
  decrement(key: string): Promise<void>;
  resetKey(key: string): Promise<void>;
  /** Of the keys with this prefix. Not in a Redis Cluster: `FLEET_UNAVAILABLE`. */
  resetAll(): Promise<void>;
}
