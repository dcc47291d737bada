// @ts-check
'use strict';

// Monitoring at an interval: looks at something again and again, and an emitter emits what was found.

const { unwrap } = require('../errors');
const { addon } = require('../native');

/** Maximum delay of a Node.js timer, milliseconds. */
const MAX_TIMER = 2 ** 31 - 1;

/** @typedef {{ name: string, payload: object }} Found an event and its payload, which gets a timestamp */

class Monitoring {
  /** @type {import('node:events').EventEmitter} */
  #emitter;
  /** @type {() => Promise<Found[]>} */
  #look;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** A look started by the timer is pending. */
  #looks = false;

  /** @param {import('node:events').EventEmitter} emitter @param {() => Promise<Found[]>} look */
  constructor(emitter, look) {
    this.#emitter = emitter;
    this.#look = look;
  }

  /**
   * Starts anew. This does not keep the process alive.
   *
   * @param {number | string} interval a duration as in the configuration
   */
  start(interval) {
    const pause = unwrap(addon.readDuration(interval));
    this.stop();
    this.#timer = setInterval(() => this.#report(), Math.min(Math.max(1, pause), MAX_TIMER)).unref();
  }

  async #report() {
    // If a look takes longer than the interval, the next tick is skipped.
    if (this.#looks) return;
    this.#looks = true;
    const timer = this.#timer;
    const outcome = await this.#look().catch((/** @type {Error} */ error) => error);
    this.#looks = false;
    if (timer !== this.#timer) return;
    if (outcome instanceof Error) return process.nextTick(() => this.#failed(outcome));
    const timestamp = Date.now();
    for (const { name, payload } of outcome) {
      // An error thrown by a listener is an uncaught exception of the program, not a rejection of this promise.
      process.nextTick(() => this.#emitter.emit(name, { ...payload, timestamp }));
    }
  }

  /** Without an 'error' listener a failure is a warning and does not end the process. @param {Error} error */
  #failed(error) {
    if (this.#emitter.listenerCount('error') > 0) this.#emitter.emit('error', error);
    else process.emitWarning(error);
  }

  stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

module.exports = { MAX_TIMER, Monitoring };
