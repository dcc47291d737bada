// @ts-check
'use strict';

// The MemoryManager: memory of the machine and of workers, compared with limits and over time; with or without a cluster.

const { EventEmitter } = require('node:events');
const { Monitoring } = require('./monitoring');
const { ClusterError, notSupported, unwrap } = require('../errors');
const { addon } = require('../native');
const { allWorkers } = require('../primary/clusters');

class MemoryManager extends EventEmitter {
  /** Null on a platform without an addon. @type {any} */
  #native = null;
  /** Milliseconds. */
  #interval = 0;
  #monitoring = new Monitoring(this, () => this.#look());

  /** @param {any} [config] a MemoryManagerConfig */
  constructor(config = {}) {
    super();
    if (addon === null) return;
    this.#native = new addon.NativeMemoryManager(config);
    this.#interval = unwrap(this.#native.outcome).interval;
  }

  /** @param {string} method */
  #core(method) {
    if (this.#native === null) throw notSupported(`MemoryManager.${method}`);
    return this.#native;
  }

  async getSystemMemoryStats() {
    const stats = JSON.parse(await this.#core('getSystemMemoryStats').system());
    if (stats === null) throw new ClusterError('The memory of the system cannot be read', 'SYSTEM');
    return stats;
  }

  /** @param {string} workerId @param {number} pid */
  async getWorkerMemoryStats(workerId, pid) {
    const native = this.#core('getWorkerMemoryStats');
    if (!Number.isInteger(pid) || pid < 1 || pid > 0xffff_ffff) {
      throw new ClusterError(`A pid must be a whole number above 0, not ${String(pid)}`, 'INVALID_ARGUMENT', { pid });
    }
    const stats = JSON.parse(await native.worker(String(workerId), pid, allWorkers()));
    if (stats === null) throw new ClusterError(`There is no process ${pid}`, 'INVALID_ARGUMENT', { pid });
    if (pid === process.pid) Object.assign(stats.memoryUsage, process.memoryUsage());
    return stats;
  }

  /** @param {string} _workerId @param {number} currentMemory */
  checkMemoryLimits(_workerId, currentMemory) {
    return unwrap(this.#core('checkMemoryLimits').checkLimits(currentMemory));
  }

  /** @param {string} workerId @param {number} currentMemory */
  detectMemoryLeak(workerId, currentMemory) {
    return unwrap(this.#core('detectMemoryLeak').detectLeak(String(workerId), currentMemory));
  }

  /** @param {string} workerId */
  suggestGarbageCollection(workerId) {
    return unwrap(this.#core('suggestGarbageCollection').advisesCollection(String(workerId), allWorkers()));
  }

  /** @param {any} [systemStats] MemoryStats */
  async calculateOptimalWorkerCount(systemStats) {
    const stats = systemStats ?? (await this.getSystemMemoryStats());
    return unwrap(this.#core('calculateOptimalWorkerCount').optimalWorkerCount(stats, allWorkers()));
  }

  async getMemoryOptimizationRecommendations() {
    const stats = await this.getSystemMemoryStats();
    return unwrap(this.#core('getMemoryOptimizationRecommendations').advise(stats, allWorkers()));
  }

  /**
   * Emits 'stats' at each interval, and 'warning', 'critical' and 'leak' when they begin. It does not keep the process
   * alive.
   *
   * @param {number | string} [interval] a duration as in the configuration
   */
  startMonitoring(interval = this.#interval) {
    this.#core('startMonitoring');
    this.#monitoring.start(interval);
  }

  async #look() {
    const system = await this.getSystemMemoryStats();
    const workers = allWorkers();
    const reports = unwrap(this.#native.look(system, workers));
    const living = workers.filter(({ pid }) => pid !== null);
    const stats = living.map(({ id, pid }) => this.getWorkerMemoryStats(id, pid).catch(() => null));
    // A worker that has ended meanwhile is left out.
    const known = (await Promise.all(stats)).filter((found) => found !== null);
    return [{ name: 'stats', payload: { system, workers: known } }, ...reports];
  }

  stopMonitoring() {
    this.#monitoring.stop();
  }

  destroy() {
    this.stopMonitoring();
    this.removeAllListeners();
  }
}

module.exports = { MemoryManager };
