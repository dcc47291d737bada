// @ts-check
'use strict';

// The ProcessMonitor: the machine and single processes, of a cluster or not, as the kernel counts them.

const { EventEmitter } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { DEFAULT_VALUES } = require('./constants');
const { ClusterError, notSupported, unwrap } = require('./errors');
const { addon } = require('./native');

/** Less between two looks at the machine says nothing of its processors, milliseconds. */
const SHORTEST = 200;

/** What a timer of Node's can wait, milliseconds. */
const LONGEST = 2 ** 31 - 1;

class ProcessMonitor extends EventEmitter {
  /** Made with the first look. @type {any} */
  #native = null;
  /** When the machine was looked at last. */
  #looked = 0;
  /** The look at the machine that is under way: all who ask meanwhile get that one. @type {Promise<any> | null} */
  #system = null;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** A look of the timer's is under way. */
  #looks = false;

  #made() {
    if (addon === null) throw notSupported('ProcessMonitor');
    if (this.#native === null) {
      this.#native = new addon.NativeMonitor();
      this.#looked = performance.now();
    }
    return this.#native;
  }

  /** @param {number} [pid] */
  async #look(pid) {
    return JSON.parse(await this.#made().look(pid));
  }

  getSystemStats() {
    this.#system ??= this.#lookAtSystem().finally(() => {
      this.#system = null;
    });
    return this.#system;
  }

  async #lookAtSystem() {
    this.#made();
    const early = this.#looked + SHORTEST - performance.now();
    if (early > 0) await wait(early);
    const stats = await this.#look();
    this.#looked = performance.now();
    if (stats === null) throw notSupported('ProcessMonitor.getSystemStats');
    return stats;
  }

  /** @param {number} pid */
  async getProcessStats(pid) {
    if (!Number.isInteger(pid) || pid < 1 || pid > 0xffff_ffff) {
      throw new ClusterError(`A pid is a whole number above 0, and not ${String(pid)}`, 'INVALID_ARGUMENT', { pid });
    }
    const stats = await this.#look(pid);
    if (stats === null) throw new ClusterError(`There is no process ${pid}`, 'INVALID_ARGUMENT', { pid });
    if (pid === process.pid) {
      const { heapTotal, heapUsed, external } = process.memoryUsage();
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
    this.#timer = setInterval(() => this.#tell(), Math.min(Math.max(1, pause), LONGEST)).unref();
  }

  async #tell() {
    // On a machine that is slower than the interval the next look waits for its turn.
    if (this.#looks) return;
    this.#looks = true;
    const timer = this.#timer;
    try {
      const [system, own] = await Promise.all([this.getSystemStats(), this.getProcessStats(process.pid)]);
      if (timer === this.#timer) this.emit('stats', { system, process: own, timestamp: Date.now() });
    } catch (error) {
      if (timer === this.#timer) this.#failed(error);
    } finally {
      this.#looks = false;
    }
  }

  /** Whoever does not listen to errors is not ended by one: nothing of theirs has failed. @param {unknown} error */
  #failed(error) {
    if (this.listenerCount('error') > 0) this.emit('error', error);
    else process.emitWarning(/** @type {Error} */ (error));
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
