// @ts-check
'use strict';

// The counters of limits: in the shared memory of this machine, or in Redis for all machines.

const { inspect } = require('node:util');
const { ClusterError } = require('../errors');
const { outageOf } = require('./outage');
const { cacheOf, fleetOf, localBeside, spaceOf } = require('./source');

/** @typedef {import('../../types/cache').Cache} Cache */
/** @typedef {import('../fleet/fleet').Fleet} Fleet */

/** @typedef {{ count: number, end: number }} Counter `end` of its life: milliseconds since 1970; Infinity: never */

/**
 * `life`, of a new counter: milliseconds; 0: for any time. Of two calls on one counter each sees the other's, or is seen
 * by it.
 *
 * @typedef {object} Counters
 * @property {(key: string, by: number, life: number) => Promise<Counter>} add
 * @property {(key: string, life: number) => Promise<void>} take subtracts one from a counter above 0
 * @property {(key: string) => Promise<Counter | undefined>} look
 * @property {(key: string, count: number, life: number) => Promise<void>} assign
 * @property {(key: string) => Promise<boolean>} remove whether it was there
 * @property {() => Promise<void>} clear removes all
 */

/** In shared memory: every process changes a counter itself. @implements {Counters} */
class LocalCounters {
  #cache;
  #prefix;

  /** @param {Cache} cache @param {string} prefix of its keys */
  constructor(cache, prefix) {
    this.#cache = cache;
    this.#prefix = prefix;
  }

  /** @param {string} key @param {number} by @param {number} life */
  async add(key, by, life) {
    const count = await this.#cache.increment(this.#prefix + key, by, { ttl: life });
    return { count, end: this.#cache.expiresAt(this.#prefix + key) ?? Date.now() + life };
  }

  /** Of two processes that take from a counter at 1, one takes its change back. @param {string} key @param {number} life */
  async take(key, life) {
    const name = this.#prefix + key;
    if (!(this.#cache.get(name) > 0)) return;
    const count = await this.#cache.decrement(name, 1, { ttl: life });
    if (count < 0) await this.#cache.increment(name, 1, { ttl: life });
  }

  /** @param {string} key */
  async look(key) {
    const count = this.#cache.get(this.#prefix + key);
    return count === undefined ? undefined : { count, end: this.#cache.expiresAt(this.#prefix + key) ?? Date.now() };
  }

  /** @param {string} key @param {number} count @param {number} life */
  async assign(key, count, life) {
    await this.#cache.set(this.#prefix + key, count, { ttl: life });
  }

  /** @param {string} key */
  remove(key) {
    return this.#cache.delete(this.#prefix + key);
  }

  async clear() {
    await this.#cache.invalidate(`${this.#prefix}*`);
  }
}

/** In Redis, by scripts that it runs one after the other. @implements {Counters} */
class FleetCounters {
  #fleet;
  #space;

  /** @param {Fleet} fleet @param {string} space */
  constructor(fleet, space) {
    this.#fleet = fleet;
    this.#space = space;
  }

  /** @param {string} key @param {number} by @param {number} life */
  async add(key, by, life) {
    if (!Number.isSafeInteger(by)) throw new ClusterError(`fleet: found ${inspect(by)}, allowed: a whole number`, 'INVALID_ARGUMENT');
    return counterOf(await this.#fleet.count(this.#space, key, by, life));
  }

  /** @param {string} key */
  take(key) {
    return this.#fleet.take(this.#space, key);
  }

  /** @param {string} key */
  async look(key) {
    const found = await this.#fleet.peek(this.#space, key);
    return found === undefined ? undefined : counterOf(found);
  }

  /** @param {string} key @param {number} count @param {number} life */
  assign(key, count, life) {
    return this.#fleet.assign(this.#space, key, count, life);
  }

  /** @param {string} key */
  remove(key) {
    return this.#fleet.remove(this.#space, key);
  }

  clear() {
    return this.#fleet.clear(this.#space);
  }
}

/** @param {{ count: number, left: number }} found @returns {Counter} */
function counterOf({ count, left }) {
  return { count, end: left < 0 ? Infinity : Date.now() + left };
}

/** In Redis, and in this machine while that is away. @implements {Counters} */
class CountersInOutages {
  #there;
  #here;
  #outage;

  /** @param {Counters} there @param {Counters} here @param {ReturnType<typeof outageOf>} outage */
  constructor(there, here, outage) {
    this.#there = there;
    this.#here = here;
    this.#outage = outage;
  }

  /** @template T @param {(counters: Counters) => Promise<T>} act */
  #do(act) {
    return this.#outage.try(
      () => act(this.#there),
      () => act(this.#here),
    );
  }

  /** @param {string} key @param {number} by @param {number} life */
  add(key, by, life) {
    return this.#do((counters) => counters.add(key, by, life));
  }

  /** @param {string} key @param {number} life */
  take(key, life) {
    return this.#do((counters) => counters.take(key, life));
  }

  /** @param {string} key */
  look(key) {
    return this.#do((counters) => counters.look(key));
  }

  /** @param {string} key @param {number} count @param {number} life */
  assign(key, count, life) {
    return this.#do((counters) => counters.assign(key, count, life));
  }

  // What is forgotten is not found here in the next outage either.

  /** @param {string} key */
  async remove(key) {
    const wasHere = await this.#here.remove(key);
    return this.#outage.try(
      () => this.#there.remove(key),
      () => wasHere,
    );
  }

  async clear() {
    await this.#here.clear();
    await this.#there.clear();
  }
}

/**
 * The counters of an adapter.
 *
 * @param {any} source an app, its cache, or a namespace of it
 * @param {string} name of its namespace
 * @param {string} kind of the counters, in Redis
 * @param {string} prefix of its keys
 * @returns {Counters}
 */
function countersOf(source, name, kind, prefix) {
  const [cache, fleet] = [cacheOf(source, name), fleetOf(source)];
  if (fleet === null) return new LocalCounters(cache, prefix);
  const there = new FleetCounters(fleet, `${spaceOf(kind, cache)}:${prefix}`);
  if (fleet.config.onFailure === 'refuse') return there;
  return new CountersInOutages(there, new LocalCounters(localBeside(cache), prefix), outageOf(fleet));
}

exports.countersOf = countersOf;
