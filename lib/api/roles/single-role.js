// @ts-check
'use strict';

// The application's methods without a cluster: one process serves, and its metrics are those of a cluster of one.

const { coreCache, joinFleet, sharedCache } = require('../../cache/cache');
const { fromCore, notClustered, notSupported } = require('../../errors');
const { fleetOf } = require('../../fleet/fleet');
const { identifyRequests } = require('../../http/request-ids');
const { MessageEndpoint } = require('../../messages/endpoint');
const { Loopback } = require('../../messages/loopback');
const { Registry } = require('../../metrics/registry');
const { Leadership } = require('../../process/leadership');
const { onShutdown, runHooks, waitUntil, waitedFor } = require('../../process/shutdown-hooks');
const { stopAtSignals } = require('../../process/signals');
const runtime = require('../../runtime');
const { singleProcess } = require('../single-process');
const { ServingRole } = require('./serving-role');

/** Timeout of a graceful stop if the configuration could not be read, milliseconds. */
const UNCONFIGURED_TIMEOUT = 30_000;

/** Defaults for a process whose configuration could not be read. */
const NO_LIMITS = { timeout: 30_000, maxMessageSize: 1024 * 1024, maxPending: 10_000, serialization: 'json' };

/** The cache that all applications of this process share. @type {{ core: () => any, cache: import('../../cache/cache').Cache } | null} */
let cacheOfProcess = null;

/** @param {any} config undefined: the configuration could not be read */
function ownCache(config = {}) {
  if (cacheOfProcess === null) {
    /** @type {any} */
    let made = null;
    const core = () => {
      made ??= coreCache(config);
      return made;
    };
    const open = (/** @type {any[]} */ ...args) => core().open(...args);
    cacheOfProcess = { core, cache: sharedCache(open, config, () => made?.save()) };
  }
  return cacheOfProcess;
}

class SingleRole extends ServingRole {
  /** @param {import('./serving-role').Made} made */
  constructor(made) {
    super(made);
    this.name = 'single';
    this.workerId = undefined;
    this.config = made.prepared?.config ?? {};
    this.registry = new Registry();
    const { core, cache } = ownCache(this.config.cache);
    this.cache = cache;
    /**
     * The hooks of this application; another one in this process may keep serving while they run.
     * @type {import('../../process/shutdown-hooks').Hooks}
     */
    this.hooks = [];
    this.isFollowingSignals = false;
    this.hasStarted = false;
    /** The pending graceful stop. @type {Promise<void> | null} */
    this.stopping = null;
    const ipc = this.config.ipc ?? NO_LIMITS;
    const wire = new Loopback(ipc);
    this.messages = new MessageEndpoint({
      wire,
      listeners: { count: () => process.listenerCount('message'), emit: (message) => runtime.emitMessage(message) },
      advanced: ipc.serialization === 'advanced',
      isPrimary: true,
      workerId: undefined,
      timeout: ipc.timeout,
    });
    wire.deliver = (...batch) => this.messages.deliver(...batch);
    const { redis } = this.config;
    const own = fleetOf(made.configuration, redis?.enabled ? core() : null, { config: redis, isLocalLeader: () => true, receives: true });
    this.fleet = own.fleet;
    this.joined = own.native !== null;
    if (this.joined) {
      this.messages.join(own.fleet);
      joinFleet(cache, own.fleet);
    }
    this.leadership = new Leadership({ isLeader: true, fleet: own.fleet, settled: () => Promise.resolve(), resigned() {} });
  }

  /**
   * @override
   * @param {import('../../http/serving').Serving} serving
   * @param {import('../../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    if (!this.hasStarted) for (const note of this.made.prepared?.notes ?? []) console.warn(`drover: ${note}`);
    if (this.made.prepared?.refusal) throw fromCore(this.made.prepared.refusal);
    if (this.config.logging?.requestIds) identifyRequests();
    if (this.joined) this.#joinFleet();
    const measured = this.config.monitoring?.enabled ? singleProcess() : undefined;
    const warming = this.warm(this.cache, this.config);
    if (warming !== null) await warming;
    const started = super.start(serving, options, errorEvent);
    measured?.count(serving.server);
    await started;
    this.hasStarted = true;
  }

  #joinFleet() {
    this.fleet.join();
    process.once('exit', () => this.fleet.close());
  }

  /** @param {boolean} graceful */
  stop(graceful) {
    const servers = /** @type {import('node:http').Server[]} */ (this.servers());
    if (!graceful && servers.length > 0) {
      const closed = this.close();
      for (const server of servers) server.closeAllConnections?.();
      return closed;
    }
    this.stopping ??= this.close()
      .then(() => runHooks(this.hooks))
      .then(waitedFor)
      .finally(() => {
        if (this.joined) this.fleet.close();
        this.stopping = null;
      });
    return this.stopping;
  }

  /** @override @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    onShutdown(hook, this.hooks);
    this.#followSignals();
  }

  /** @override @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    waitUntil(promise);
    this.#followSignals();
  }

  /** Without a cluster this process itself must handle the stop signal of a container or service manager. */
  #followSignals() {
    if (this.isFollowingSignals) return;
    this.isFollowingSignals = true;
    stopAtSignals(() => this.stop(true), this.config.processManagement?.gracefulShutdownTimeout ?? UNCONFIGURED_TIMEOUT);
  }

  /** This process as a cluster of one; undefined if it cannot be measured. */
  itself() {
    const own = singleProcess();
    const address = this.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    // The program of a ClusterManager calls `listen` itself.
    const serves = this.servers().length > 0 || this.made.app === null;
    own?.setState(serves ? 'ready' : this.hasStarted ? 'stopping' : 'starting', port);
    return own;
  }

  workers() {
    return this.itself()?.workers() ?? [];
  }

  metrics() {
    const own = this.itself();
    return own === undefined ? this.refuse('getClusterMetrics') : { ...own.metrics(), userMetrics: this.registry.snapshot() };
  }

  health() {
    return this.itself()?.health() ?? this.refuse('getClusterHealth');
  }

  isReady() {
    // Servers that the program created itself are not managed here.
    return this.servings.size === 0 || this.servers().length > 0;
  }

  /** @param {string} verb @returns {Promise<any>} */
  command(verb) {
    // What the cluster would begin with.
    const workers = this.made.prepared?.workerCount;
    return verb === 'getOptimalWorkerCount' && workers ? Promise.resolve(workers) : Promise.reject(notClustered(verb));
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

module.exports = { SingleRole };
