// @ts-check
'use strict';

// The ClusterManager: a cluster as an object with events. On its own it runs a program that calls `listen` itself (`new
// ClusterManager(config, basePort)`); `createServer` creates one for its application's role.

const { EventEmitter } = require('node:events');
const { addon } = require('../native');
const { fromCore, notSupported, unwrap } = require('../errors');
const { ClusterState } = require('./constants');
const { isMainThread, singleProcessReason, snapshot, whyNoWorkers } = require('../process/environment');
const { functionsOf } = require('../metrics/reporting');
const { marked } = require('../options');
const { roleLater } = require('../symbols');
const { worker } = require('../worker/worker');
const { PrimaryRole } = require('./roles/primary-role');
const { SingleRole } = require('./roles/single-role');
const { WorkerRole } = require('./roles/worker-role');

/** The state of the cluster after an event. @type {Record<string, string>} */
const stateAfter = { 'cluster:started': ClusterState.RUNNING, 'cluster:stopped': ClusterState.STOPPED };

class ClusterManager extends EventEmitter {
  /** @type {any} */
  #role = null;
  /** @type {any} */
  #methods = null;
  /** @type {any} */
  #config;
  /** @type {Promise<void> | null} */
  #started = null;

  /**
   * @param {any} [config] a ClusterConfig
   * @param {number} [basePort] passed to the workers as PORT
   */
  constructor(config = {}, basePort) {
    super();
    /** @type {string} */
    this.state = ClusterState.INITIALIZING;
    if (config === roleLater) return;
    const own = isMainThread ? worker() : null;
    if (config?.cache?.warmBeforeReady) throw notSupported('cache.warmBeforeReady with a ClusterManager, whose program listens by itself,');
    const data = marked(config);
    if (basePort !== undefined) data.env = { ...data.env, PORT: String(basePort) };
    const input = { standalone: true, options: data, env: snapshot(), singleProcessReason: isMainThread ? singleProcessReason() : 'node-cluster' };
    if (own !== null) {
      this.#config = own.hello.config;
      own.healthChecks.configure(config);
      this.#role = new WorkerRole({ app: null, server: {}, data, prepared: null, functions: null, warm: config?.cache?.warm }, own);
      void this.#role.warm(own.cache, {});
      this.#subscribe();
      return;
    }
    const configuration = addon === null ? null : new addon.Configuration(input);
    const prepared = configuration === null ? { clustering: false, config: {} } : unwrap(configuration.outcome);
    const made = { app: null, server: {}, data, prepared, configuration, functions: functionsOf(config) };
    this.#config = prepared.config;
    this.#role = prepared.clustering ? new PrimaryRole(made, configuration, this) : new SingleRole(made);
  }

  /** Creates a manager that gets its role later. */
  static over() {
    return new ClusterManager(roleLater);
  }

  /** @param {any} role @param {any} methods the application's */
  lead(role, methods) {
    this.#role = role;
    this.#methods = methods;
    this.#config = role.config;
    this.#subscribe();
  }

  /** In a worker: subscribes to the primary's events while there are listeners. */
  #subscribe() {
    const role = this.#role;
    if (role.name !== 'worker') return;
    // Without an event a worker assumes 'running', because its cluster runs.
    this.state = ClusterState.RUNNING;
    /** @param {string | symbol} name */
    const isOurs = (name) => name !== 'newListener' && name !== 'removeListener';
    this.on('newListener', (name) => {
      if (isOurs(name)) role.subscribe(this, true);
    });
    this.on('removeListener', () => {
      if (!this.eventNames().some(isOurs)) role.subscribe(this, false);
    });
  }

  /** Emits an event of the core on this object. @param {any} event */
  onEvent({ type, ...data }) {
    if (type === 'notice') return;
    this.state = stateAfter[type] ?? this.state;
    if (data.error) data.error = fromCore(data.error);
    this.emit(type, data);
  }

  /** @returns {Promise<void>} */
  start() {
    if (this.#methods !== null) return this.#methods.start();
    this.#started ??= this.#begin();
    return this.#started;
  }

  async #begin() {
    const reason = whyNoWorkers();
    if (this.#role.name === 'single' && reason !== null) {
      this.state = ClusterState.ERROR;
      this.#started = null;
      throw notSupported(`A cluster in this runtime (${reason})`);
    }
    // In a worker and in a single process the program calls `listen` itself.
    if (this.#role.name !== 'primary') return;
    this.state = ClusterState.STARTING;
    try {
      await this.#role.startWorkers();
      this.state = ClusterState.RUNNING;
    } catch (error) {
      this.state = ClusterState.ERROR;
      this.#started = null;
      throw error;
    }
  }

  /** @param {boolean} [graceful] @returns {Promise<void>} */
  stop(graceful = true) {
    if (this.#role.name === 'primary') this.state = ClusterState.STOPPING;
    this.#started = null;
    return this.#role.stop(graceful);
  }

  getWorkers() {
    return this.#role.workers();
  }

  /** @param {string | number} workerId */
  getWorkerById(workerId) {
    return this.getWorkers().find((/** @type {any} */ info) => info.id === String(workerId));
  }

  /** The configuration in canonical names and units, without secrets. */
  getConfig() {
    return structuredClone(this.#config);
  }

  /** Rolling restart: each new worker is ready before the old one drains. */
  restart() {
    return this.#command('restartCluster');
  }

  /** Adds a worker, in the slot of this id if one is given. @param {string} [workerId] */
  async spawnWorker(workerId) {
    const [slot] = await this.#role.command('spawnWorker', workerId);
    return this.getWorkerById(slot);
  }

  /** Removes this worker; the cluster has one worker fewer. @param {string} workerId @param {boolean} [graceful] */
  stopWorker(workerId, graceful = true) {
    return this.#command(graceful ? 'stopWorker' : 'endWorker', workerId);
  }

  /** @param {string} workerId */
  restartWorker(workerId) {
    return this.#command('restartWorker', workerId);
  }

  /** @param {number} workers */
  scale(workers) {
    return this.#command('scale', workers);
  }

  /** @param {number} [count] */
  scaleUp(count) {
    return this.#command('scaleUp', count);
  }

  /** @param {number} [count] */
  scaleDown(count) {
    return this.#command('scaleDown', count);
  }

  /** @param {string} verb @param {any} [argument] @returns {Promise<void>} */
  async #command(verb, argument) {
    await this.#role.command(verb, argument);
  }

  /** The program's own metrics. */
  get metrics() {
    return this.#role.registry;
  }

  async getMetrics() {
    return this.#role.metrics();
  }
  async getHealth() {
    return this.#role.fleet.withHealth(await this.#role.health());
  }
  /** @param {any} config */
  async updateConfig(config) {
    this.#config = await this.#role.command('updateConfig', marked(config));
  }
  /** Connects an IPCManager to this cluster's workers. @param {import('./ipc-manager').IPCManager} ipcManager */
  setIPCManager(ipcManager) {
    ipcManager.join(this.#role.messages);
  }
}

exports.ClusterManager = ClusterManager;
