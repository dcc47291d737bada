// @ts-check
'use strict';

// The ProcessMonitor: the kernel's statistics of the machine and of single processes, with or without a cluster.

const { EventEmitter } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { DEFAULT_VALUES } = require('./constants');
const { MAX_TIMER, Monitoring } = require('./monitoring');
const { ClusterError, notSupported } = require('../errors');
const { addon } = require('../native');
const runtime = require('../runtime');

/** Minimum time between two samples of the machine for a meaningful processor usage, milliseconds. */
const MIN_SAMPLE = 200;

class ProcessMonitor extends EventEmitter {
  /** Created with the first sample. @type {any} */
  #native = null;
  /** Time of the latest sample of the machine. @type {number | null} */
  #looked = null;
  /** The pending sample of the machine, shared by all concurrent callers. @type {Promise<any> | null} */
  #system = null;
  #monitoring = new Monitoring(this, () => this.#lookAtBoth());

  /** @param {number} [pid] */
  async #look(pid) {
    if (addon === null) throw notSupported('ProcessMonitor');
    this.#native ??= new addon.NativeMonitor();
    return JSON.parse(await this.#native.look(pid));
  }

  async getSystemStats() {
    // A sample started by the timer does not keep the process alive.
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
    // The first sample has no previous one to compare with.
    if (this.#looked === null) {
      await this.#look();
      this.#looked = performance.now();
    }
    const early = this.#looked + MIN_SAMPLE - performance.now();
    if (early > 0) await wait(early, undefined, { ref: false });
    const stats = await this.#look();
    this.#looked = performance.now();
    if (stats === null) throw new ClusterError('The statistics of the system cannot be read', 'SYSTEM');
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
   * Starts emitting 'stats' for the machine and this process at each interval. This does not keep the process alive.
   *
   * @param {number | string} [interval] a duration as in the configuration
   */
  startMonitoring(interval = DEFAULT_VALUES.METRICS_INTERVAL) {
    if (addon === null) throw notSupported('ProcessMonitor.startMonitoring');
    this.#monitoring.start(interval);
  }

  async #lookAtBoth() {
    const [system, own] = await Promise.all([this.#systemStats(), this.getProcessStats(process.pid)]);
    return [{ name: 'stats', payload: { system, process: own } }];
  }

  stopMonitoring() {
    this.#monitoring.stop();
  }

  destroy() {
    this.stopMonitoring();
    this.removeAllListeners();
  }
}

module.exports = { ProcessMonitor };
