// @ts-check
'use strict';

// drover/rate-limit: a store of express-rate-limit. The counts are counters in shared memory, which every process
// changes itself, so that they are exact in all workers together and cost no message once they exist.

const { inspect } = require('node:util');
const { ClusterError } = require('../errors');
const { cacheOf, plainText } = require('./source');

/** express-rate-limit's default. */
const DEFAULT_WINDOW = 60_000;

/** @typedef {import('../../types/cache').Cache} Cache */

/**
 * Subtracts one from a counter that is above 0. Of two processes that do so at 1, one takes its change back.
 *
 * @param {Cache} cache
 * @param {string} name
 * @param {number} ttl
 */
async function subtract(cache, name, ttl) {
  if (!(cache.get(name) > 0)) return;
  const count = await cache.decrement(name, 1, { ttl });
  if (count < 0) await cache.increment(name, 1, { ttl });
}

/** What both kinds of windows are made of. */
class Window {
  /** @param {Cache} cache @param {string} prefix @param {number} time of a window, in milliseconds */
  constructor(cache, prefix, time) {
    this.cache = cache;
    this.prefix = prefix;
    this.time = time;
  }
}

/** A client's window begins with its first request, and its counter ends with it. */
class FixedWindow extends Window {
  /** @param {string} key */
  async add(key) {
    const totalHits = await this.cache.increment(this.prefix + key, 1, { ttl: this.time });
    return { totalHits, resetTime: this.#end(key) };
  }

  /** @param {string} key */
  async subtract(key) {
    await subtract(this.cache, this.prefix + key, this.time);
  }

  /** @param {string} key */
  look(key) {
    const totalHits = this.cache.get(this.prefix + key);
    return totalHits === undefined ? undefined : { totalHits, resetTime: this.#end(key) };
  }

  /** @param {string} key */
  async reset(key) {
    await this.cache.delete(this.prefix + key);
  }

  /** @param {string} key */
  #end(key) {
    return new Date(this.cache.expiresAt(this.prefix + key) ?? Date.now() + this.time);
  }
}

/**
 * The requests of the last so many milliseconds, estimated from two windows that are the same for all clients: the current
 * one, and as much of the one before as is not over yet.
 */
class SlidingWindow extends Window {
  /** @param {string} key */
  async add(key) {
    const now = Date.now();
    return this.#result(key, now, await this.cache.increment(this.#name(key, now), 1, { ttl: 2 * this.time }));
  }

  /** @param {string} key */
  async subtract(key) {
    await subtract(this.cache, this.#name(key, Date.now()), 2 * this.time);
  }

  /** @param {string} key */
  look(key) {
    const now = Date.now();
    const count = this.cache.get(this.#name(key, now));
    const before = this.cache.get(this.#name(key, now - this.time));
    return count === undefined && before === undefined ? undefined : this.#result(key, now, count ?? 0);
  }

  /** @param {string} key */
  async reset(key) {
    const now = Date.now();
    await Promise.all([this.cache.delete(this.#name(key, now)), this.cache.delete(this.#name(key, now - this.time))]);
  }

  /** Of the counter of a window. @param {string} key @param {number} now */
  #name(key, now) {
    return `${this.prefix}${Math.floor(now / this.time)}:${key}`;
  }

  /** @param {string} key @param {number} now @param {number} count of the current window */
  #result(key, now, count) {
    const begin = Math.floor(now / this.time) * this.time;
    const before = this.cache.get(this.#name(key, now - this.time)) ?? 0;
    // Rounded up: a whole number is above a limit exactly if the estimate is.
    const totalHits = count + Math.ceil(before * (1 - (now - begin) / this.time));
    return { totalHits, resetTime: new Date(begin + this.time) };
  }
}

/** @type {Record<string, typeof FixedWindow | typeof SlidingWindow>} */
const WINDOWS = { fixed: FixedWindow, sliding: SlidingWindow };

class DroverStore {
  /** Read by express-rate-limit: what one store counts other processes count too. */
  localKeys = false;
  #cache;
  #kind;
  /** @type {FixedWindow | SlidingWindow} */
  #window;

  /** @param {any} source an app, its cache, or a namespace of it @param {{ prefix?: string, window?: string }} [options] */
  constructor(source, { prefix = 'rl:', window = 'fixed' } = {}) {
    if (!Object.hasOwn(WINDOWS, window)) throw new ClusterError(`window: found ${inspect(window)}, allowed: 'fixed', 'sliding'`, 'INVALID_ARGUMENT');
    this.prefix = plainText('prefix', prefix);
    this.#cache = cacheOf(source, 'rate-limit');
    this.#kind = WINDOWS[window];
    this.#window = new this.#kind(this.#cache, prefix, DEFAULT_WINDOW);
  }

  /** @param {{ windowMs: number }} options of the middleware */
  init({ windowMs }) {
    this.#window = new this.#kind(this.#cache, this.prefix, Math.max(windowMs, 1));
  }

  /** @param {string} key */
  async get(key) {
    return this.#window.look(key);
  }

  /** @param {string} key */
  increment(key) {
    return this.#window.add(key);
  }

  /** @param {string} key */
  decrement(key) {
    return this.#window.subtract(key);
  }

  /** @param {string} key */
  resetKey(key) {
    return this.#window.reset(key);
  }

  async resetAll() {
    await this.#cache.invalidate(`${this.prefix}*`);
  }
}

exports.DroverStore = DroverStore;
