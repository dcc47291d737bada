// @ts-check
'use strict';

// drover/rate-limit/flexible: a limiter of rate-limiter-flexible. That package decides; here are the counts, which are
// counters in shared memory.

// The package declares the contents of its main file alone, which does not export this class.
/** @type {new (options: any) => any} */
// @ts-ignore
const RateLimiterStoreAbstract = require('rate-limiter-flexible/lib/RateLimiterStoreAbstract');
// @ts-ignore
const RateLimiterRes = require('rate-limiter-flexible/lib/RateLimiterRes');
const { cacheOf } = require('./source');

/** @typedef {{ consumedPoints: number, msBeforeNext: number }} Count */

/** The package itself calls the methods with an underscore. */
class RateLimiterDrover extends RateLimiterStoreAbstract {
  #cache;

  /** @param {any} options of the package; `storeClient` is an app, its cache, or a namespace of it */
  constructor(options) {
    super(options);
    this.client = options.storeClient;
    this.#cache = cacheOf(options.storeClient, 'rate-limit');
  }

  /**
   * Adds points, or sets them if `forceExpire`.
   *
   * @param {string} key
   * @param {number} points
   * @param {number} time until they are forgotten, in milliseconds; 0 and below: never
   * @param {boolean} [forceExpire]
   * @returns {Promise<Count>}
   */
  async _upsert(key, points, time, forceExpire = false) {
    const ttl = Math.max(time, 0);
    if (forceExpire) {
      await this.#cache.set(key, points, { ttl });
      return { consumedPoints: points, msBeforeNext: ttl > 0 ? ttl : -1 };
    }
    const consumedPoints = await this.#cache.increment(key, points, { ttl });
    return { consumedPoints, msBeforeNext: this.#left(key) };
  }

  /** @param {string} key @returns {Promise<Count | null>} */
  async _get(key) {
    const consumedPoints = this.#cache.get(key);
    return consumedPoints === undefined ? null : { consumedPoints, msBeforeNext: this.#left(key) };
  }

  /** @param {string} key */
  async _delete(key) {
    return this.#cache.delete(key);
  }

  /** @param {string} _key @param {number} changed points @param {Count} count */
  _getRateLimiterRes(_key, changed, { consumedPoints, msBeforeNext }) {
    return new RateLimiterRes(Math.max(this.points - consumedPoints, 0), msBeforeNext, consumedPoints, consumedPoints === changed);
  }

  /** Milliseconds until the points are forgotten; -1: never. @param {string} key */
  #left(key) {
    const end = this.#cache.expiresAt(key) ?? 0;
    return end === Infinity ? -1 : Math.max(end - Date.now(), 0);
  }
}

exports.RateLimiterDrover = RateLimiterDrover;
