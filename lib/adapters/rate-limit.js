// @ts-check
'use strict';

// drover/rate-limit: a store of express-rate-limit. The counts are counters in shared memory, which every process
// changes itself, so that they are exact in all workers together and cost no message once they exist; with a fleet they
// are in Redis, and exact in all machines together.

const { inspect } = require('node:util');
const { ClusterError } = require('../errors');
const { countersOf } = require('./counters');
const { plainText } = require('./source');

/** express-rate-limit's default. */
const DEFAULT_WINDOW = 60_000;

/** What both kinds of windows are made of. */
class Window {
  /** @param {import('./counters').Counters} counters @param {number} time of a window, in milliseconds */
  constructor(counters, time) {
    this.counters = counters;
    this.time = time;
  }
}

/** A client's window begins with its first request, and its counter ends with it. */
class FixedWindow extends Window {
  /** @param {string} key */
  async add(key) {
    return resultOf(await this.counters.add(key, 1, this.time));
  }

  /** @param {string} key */
  subtract(key) {
    return this.counters.take(key, this.time);
  }

  /** @param {string} key */
  async look(key) {
    const counter = await this.counters.look(key);
    return counter === undefined ? undefined : resultOf(counter);
  }

  /** @param {string} key */
  async reset(key) {
    await this.counters.remove(key);
  }
}

/** @param {import('./counters').Counter} counter */
function resultOf({ count, end }) {
  return { totalHits: count, resetTime: new Date(end) };
}

/**
 * The requests of the last so many milliseconds, estimated from two windows that are the same for all clients: the current
 * one, and as much of the one before as is not over yet.
 */
class SlidingWindow extends Window {
  /** @param {string} key */
  async add(key) {
    const now = Date.now();
    const [{ count }, before] = await Promise.all([this.counters.add(this.#name(key, now), 1, 2 * this.time), this.#before(key, now)]);
    return this.#result(now, count, before?.count ?? 0);
  }

  /** @param {string} key */
  subtract(key) {
    return this.counters.take(this.#name(key, Date.now()), 2 * this.time);
  }

  /** @param {string} key */
  async look(key) {
    const now = Date.now();
    const [current, before] = await Promise.all([this.counters.look(this.#name(key, now)), this.#before(key, now)]);
    return current === undefined && before === undefined ? undefined : this.#result(now, current?.count ?? 0, before?.count ?? 0);
  }

  /** @param {string} key */
  async reset(key) {
    const now = Date.now();
    await Promise.all([this.counters.remove(this.#name(key, now)), this.counters.remove(this.#name(key, now - this.time))]);
  }

  /** Of the counter of a window. @param {string} key @param {number} now */
  #name(key, now) {
    return `${Math.floor(now / this.time)}:${key}`;
  }

  /** The counter of the window before. @param {string} key @param {number} now */
  #before(key, now) {
    return this.counters.look(this.#name(key, now - this.time));
  }

  /** @param {number} now @param {number} count of the current window @param {number} before of the one before */
  #result(now, count, before) {
    const begin = Math.floor(now / this.time) * this.time;
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
  #counters;
  #kind;
  /** @type {FixedWindow | SlidingWindow} */
  #window;

  /** @param {any} source an app, its cache, or a namespace of it @param {{ prefix?: string, window?: string }} [options] */
  constructor(source, { prefix = 'rl:', window = 'fixed' } = {}) {
    if (!Object.hasOwn(WINDOWS, window)) throw new ClusterError(`window: found ${inspect(window)}, allowed: 'fixed', 'sliding'`, 'INVALID_ARGUMENT');
    this.prefix = plainText('prefix', prefix);
    this.#counters = countersOf(source, 'rate-limit', 'limit', prefix);
    this.#kind = WINDOWS[window];
    this.#window = new this.#kind(this.#counters, DEFAULT_WINDOW);
  }

  /** @param {{ windowMs: number }} options of the middleware */
  init({ windowMs }) {
    this.#window = new this.#kind(this.#counters, Math.max(windowMs, 1));
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

  resetAll() {
    return this.#counters.clear();
  }
}

exports.DroverStore = DroverStore;
