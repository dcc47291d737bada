// @ts-check
'use strict';

// getOrSet: one process of the cluster computes a value, and the others get it. In this process one flight of a key
// serves everybody who asks meanwhile.

const { ClusterError } = require('../errors');
const { constants } = require('../native');
const { turnTime } = require('./clock');

const { status: statuses } = constants?.cache ?? { status: {} };

/**
 * @typedef {object} Waits how long a caller waits
 * @property {number | string} [timeout] for a new value while there is a stale one
 * @property {number | string} [hardTimeout] for a value while there is none
 */

/**
 * @typedef {object} Namespace what flights need of a namespace
 * @property {(key: string) => any} peek the entry, however old it is
 * @property {(entry: any) => any} valueOf
 * @property {(key: string, isHit: boolean) => void} looked
 * @property {(isOwn: boolean) => void} counted a value was computed, or waited for
 * @property {(key: string, renews: boolean) => Promise<{ status: number }>} claim
 * @property {(key: string) => void} release
 * @property {(key: string, value: any, options: any) => void} land
 * @property {(error: unknown) => void} failed the background computation of a value has failed
 */

/** @param {any} entry @param {number} now */
function isFresh(entry, now) {
  return entry.expires === 0 || entry.expires > now;
}

/**
 * The result of a promise, or of `late` after so many milliseconds.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} time
 * @param {() => T} late
 * @returns {Promise<T>}
 */
function within(promise, time, late) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    }, time);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

class Flights {
  #cache;
  /** By key. @type {Map<string, Promise<any>>} */
  #running = new Map();

  /** @param {Namespace} cache */
  constructor(cache) {
    this.#cache = cache;
  }

  /**
   * @param {string} key
   * @param {(key: string) => any} factory
   * @param {any} options of the value
   * @param {{ timeout: number | undefined, hardTimeout: number | undefined }} waits milliseconds
   */
  async getOrSet(key, factory, options, { timeout = 0, hardTimeout }) {
    const cache = this.#cache;
    const entry = cache.peek(key);
    const now = turnTime();
    const value = entry === undefined ? undefined : cache.valueOf(entry);
    const isHit = value !== undefined && isFresh(entry, now);
    cache.looked(key, isHit);
    if (isHit) {
      // Each process chooses another time, so that they do not ask for it all at once.
      const isDue = entry.early !== 0 && entry.expires - now < entry.early * Math.random();
      if (isDue) this.#flight(key, factory, options, true).catch(cache.failed);
      return value;
    }
    const isStale = value !== undefined && entry.expires + entry.grace > now;
    const flight = this.#flight(key, factory, options, false);
    if (isStale) {
      const fresh = flight.catch((error) => {
        cache.failed(error);
        return value;
      });
      return timeout === 0 ? value : within(fresh, timeout, () => value);
    }
    if (hardTimeout === undefined) return flight;
    return within(flight, hardTimeout, () => {
      // The computation goes on, and its value is stored.
      flight.catch(cache.failed);
      throw new ClusterError(`cache: no value of ${key} after ${hardTimeout} ms (hardTimeout)`, 'CACHE_TIMEOUT');
    });
  }

  /**
   * @param {string} key
   * @param {(key: string) => any} factory
   * @param {any} options
   * @param {boolean} renews although there is a fresh value
   */
  #flight(key, factory, options, renews) {
    const known = this.#running.get(key);
    if (known !== undefined) {
      this.#cache.counted(false);
      return known.then((value) => this.#again(key, value));
    }
    const flight = this.#compute(key, factory, options, renews).finally(() => this.#running.delete(key));
    this.#running.set(key, flight);
    return flight;
  }

  /** A value of one's own, if it was stored. @param {string} key @param {any} value */
  #again(key, value) {
    const entry = this.#cache.peek(key);
    return entry === undefined || !isFresh(entry, turnTime()) ? value : (this.#cache.valueOf(entry) ?? value);
  }

  /**
   * @param {string} key
   * @param {(key: string) => any} factory
   * @param {any} options
   * @param {boolean} renews
   */
  async #compute(key, factory, options, renews) {
    const cache = this.#cache;
    for (;;) {
      const { status } = await cache.claim(key, renews);
      if (status === statuses.LANDED) {
        const entry = cache.peek(key);
        const value = entry !== undefined && isFresh(entry, turnTime()) ? cache.valueOf(entry) : undefined;
        if (value !== undefined || renews) {
          cache.counted(false);
          return value;
        }
        // It was evicted already, or it was not stored.
        continue;
      }
      try {
        cache.counted(true);
        const value = await factory(key);
        if (value === undefined) cache.release(key);
        else cache.land(key, value, options);
        return value;
      } catch (error) {
        cache.release(key);
        throw error;
      }
    }
  }
}

module.exports = { Flights };
