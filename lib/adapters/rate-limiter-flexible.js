// @ts-check
'use strict';

// drover/rate-limit/flexible: a limiter of rate-limiter-flexible. That package decides; here are the counts, which are
// counters in shared memory or, with a fleet, in Redis.

// The package declares the contents of its main file alone, which does not export this class.
/** @type {new (options: any) => any} */
// @ts-ignore
const RateLimiterStoreAbstract = require('rate-limiter-flexible/lib/RateLimiterStoreAbstract');
// @ts-ignore
const RateLimiterRes = require('rate-limiter-flexible/lib/RateLimiterRes');
const { countersOf } = require('./counters');

/** `msBeforeNext`: until the points are forgotten; -1: never. @typedef {{ consumedPoints: number, msBeforeNext: number }} Count */

/** The package itself calls the methods with an underscore. */
class RateLimiterDrover extends RateLimiterStoreAbstract {
  #counters;

  /** @param {any} options of the package; `storeClient` is an app, its cache, or a namespace of it */
  constructor(options) {
    super(options);
    this.client = options.storeClient;
    this.#counters = countersOf(options.storeClient, 'rate-limit', 'points', '');
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
    const life = Math.max(time, 0);
    if (!forceExpire) return countOf(await this.#counters.add(key, points, life));
    await this.#counters.assign(key, points, life);
    return { consumedPoints: points, msBeforeNext: life > 0 ? life : -1 };
  }

  /** @param {string} key @returns {Promise<Count | null>} */
  async _get(key) {
    const counter = await this.#counters.look(key);
    return counter === undefined ? null : countOf(counter);
  }

  /** @param {string} key */
  _delete(key) {
    return this.#counters.remove(key);
  }

  /** @param {string} _key @param {number} changed points @param {Count} count */
  _getRateLimiterRes(_key, changed, { consumedPoints, msBeforeNext }) {
    return new RateLimiterRes(Math.max(this.points - consumedPoints, 0), msBeforeNext, consumedPoints, consumedPoints === changed);
  }
}

/** @param {import('./counters').Counter} counter @returns {Count} */
function countOf({ count, end }) {
  return { consumedPoints: count, msBeforeNext: end === Infinity ? -1 : Math.max(end - Date.now(), 0) };
}

exports.RateLimiterDrover = RateLimiterDrover;
