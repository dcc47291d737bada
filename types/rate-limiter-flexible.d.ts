// drover/rate-limit/flexible: a limiter of rate-limiter-flexible on the shared cache, or with a fleet on Redis.

import type { RateLimiterStoreAbstract } from 'rate-limiter-flexible';
import type { CacheSource } from './cache';

/** Those of the package's limiters with stores. */
export type RateLimiterDroverOptions = ConstructorParameters<typeof RateLimiterStoreAbstract>[0] & {
  /** An app or its cache: the namespace `rate-limit` of it is used; a namespace of the cache is used itself. */
  storeClient: CacheSource;
};

/**
 * As `RateLimiterRedis`: the points are exact in all processes of a cluster together, and with `redis` in the
 * configuration in those of all machines. Points are whole numbers. While Redis is away: with `redis.onFailure: 'local'`
 * each machine counts for itself; with 'refuse' the methods fail with the code `FLEET_UNAVAILABLE`.
 */
export class RateLimiterDrover extends RateLimiterStoreAbstract {
  constructor(options: RateLimiterDroverOptions);
}
