// @ts-check
'use strict';

// The ProcessMonitor: the machine and single processes, of a cluster or not, as the kernel counts them.

const { EventEmitter } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { DEFAULT_VALUES } = require('./constants');
const { ClusterError, notSupported, unwrap } = require('../errors');
const { addon } = require('../native');
const runtime = require('../runtime');

/** Less between two looks at the machine says nothing of its processors, milliseconds. */
const MIN_SAMPLE = 200;

/** What a timer of Node's can wait, milliseconds. */
const MAX_TIMER = 2 ** 31 - 1;

class ProcessMonitor extends EventEmitter {
  /** Made with the first look. @type {any} */
  #native = null;
  /** When the machine was looked at last. @type {number | null} */
  #looked = null;
  /** The look at the machine that is under way: all who ask meanwhile get that one. @type {Promise<any> | null} */
  #system = null;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** A look of the timer's is under way. */
  #looks = false;

  /** @param {number} [pid] */
  async #look(pid) {
    if (addon === null) throw notSupported('ProcessMonitor');
    this.#native ??= new addon.NativeMonitor();
    return JSON.parse(await this.#native.look(pid));
  }

  async getSystemStats() {
    // A look of the monitoring's own would not keep the process alive for its answer.
    const hold = setInterval(() => {}, MAX_TIMER);
    try {
      return await this.#systemStats();
    } finally {
      clearInterval(hold);
    }
  }

  #systemStats() {
    this.#system ??= this.#lookAtSystem().finally(() => {
      this.#system = null;
    });
    return this.#system;
  }

  async #lookAtSystem() {
    // The first look has nothing to compare with.
    if (this.#looked === null) {
      await this.#look();
      this.#looked = performance.now();
    }
    const early = this.#looked + MIN_SAMPLE - performance.now();
    if (early > 0) await wait(early, undefined, { ref: false });
    const stats = await this.#look();
    this.#looked = performance.now();
    if (stats === null) throw notSupported('ProcessMonitor.getSystemStats');
    return stats;
  }

  /** @param {number} pid */
  async getProcessStats(pid) {
    if (!Number.isInteger(pid) || pid < 1 || pid > 0xffff_ffff) {
      throw new ClusterError(`A pid must be a whole number above 0, not ${String(pid)}`, 'INVALID_ARGUMENT', { pid });
    }
    const stats = await this.#look(pid);
    if (stats === null) throw new ClusterError(`There is no process ${pid}`, 'INVALID_ARGUMENT', { pid });
    if (pid === process.pid) {
      const { heapTotal, heapUsed, external } = runtime.memoryUsage();
      Object.assign(stats.memory, { heapTotal, heapUsed, external });
    }
    return stats;
  }

  /**
   * From now on 'stats' has the machine and this process once an interval. That does not keep the process alive.
   *
   * @param {number | string} [interval] as every duration of the configuration
   */
  startMonitoring(interval = DEFAULT_VALUES.METRICS_INTERVAL) {
    if (addon === null) throw notSupported('ProcessMonitor.startMonitoring');
    const pause = unwrap(addon.readDuration(interval));
    this.stopMonitoring();
    this.#timer = setInterval(() => this.#report(), Math.min(Math.max(1, pause), MAX_TIMER)).unref();
  }

  async #report() {
    // On a machine that is slower than the interval the next look waits for its turn.
    if (this.#looks) return;
    this.#looks = true;
    const timer = this.#timer;
    const looks = Promise.all([this.#systemStats(), this.getProcessStats(process.pid)]);
    const outcome = await looks.then(
      ([system, own]) => ({ stats: { system, process: own, timestamp: Date.now() } }),
      (/** @type {Error} */ error) => ({ error }),
    );
    this.#looks = false;
    if (timer !== this.#timer) return;
    // What a listener throws is an exception of the program's, and no rejection of this.
    process.nextTick(() => ('stats' in outcome ? this.emit('stats', outcome.stats) : this.#failed(outcome.error)));
  }

  /** Whoever does not listen to errors is not ended by one: nothing of theirs has failed. @param {Error} error */
  #failed(error) {
    if (this.listenerCount('error') > 0) this.emit('error', error);
    else process.emitWarning(error);
  }

  stopMonitoring() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  destroy() {
    this.stopMonitoring();
    this.removeAllListeners();
  }
}

module.exports = { ProcessMonitor };
