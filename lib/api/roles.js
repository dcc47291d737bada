// @ts-check
'use strict';

// What an application's methods do in a worker, in the primary, and in a process without a cluster. One
// object with the same verbs for each role.

const http = require('node:http');
const { alone } = require('./single-process');
const { ClusterError, notClustered, notSupported } = require('../errors');
const { Leadership } = require('../process/leadership');
const { Loopback } = require('../messages/loopback');
const { Mailbox } = require('../messages/endpoint');
const { Registry } = require('../metrics/registry');
const { addon } = require('../native');
const { recognise, serveFor } = require('../primary/own-servers');
const { Primary } = require('../primary/primary');
const { retryOf } = require('../retry');
const { stopAtSignals } = require('../process/signals');
const { Serving, serve } = require('../http/serving');
const { onShutdown, runHooks, waitUntil, waitedFor } = require('../process/shutdown-hooks');

/** A process that could not read its configuration has so long to stop in order, milliseconds. */
const UNCONFIGURED = 30_000;

/**
 * @typedef {{ app: any, isGiven?: boolean, server: any, data: any, prepared: any, functions: any }} Made
 *   `isGiven`: the application is the program's
 */

/** Serves in this very process: a worker, or no cluster at all. */
class Serves {
  /** @param {Made} made */
  constructor(made) {
    this.made = made;
    /** What listens or has listened. @type {Set<import('../http/serving').Serving>} */
    this.servings = new Set();
  }

  /** A server of the application's that waits to listen. */
  serving() {
    const serving = serve(this.made.app, this.made.server, this.made.isGiven === true);
    this.servings.add(serving);
    return serving;
  }

  /**
   * @param {import('../http/serving').Serving} serving
   * @param {import('../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    try {
      await serving.start(options, errorEvent);
    } catch (error) {
      this.servings.delete(serving);
      throw error;
    }
  }

  /** Servers that listen. */
  servers() {
    return [...this.servings].map(({ server }) => server).filter((server) => server.listening);
  }

  address() {
    return this.servers()[0]?.address() ?? null;
  }

  /** @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    onShutdown(hook);
  }

  /** @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    waitUntil(promise);
  }

  /** @returns {Promise<void>} */
  async close() {
    const closed = this.servers().map(
      (server) =>
        new Promise((/** @type {(_: void) => void} */ resolve, reject) => {
          server.close((error) => (error ? reject(error) : resolve()));
        }),
    );
    await Promise.all(closed);
  }
}

/** This process is a worker. */
class InWorker extends Serves {
  /** @param {Made} made @param {import('../worker/worker').Worker} worker */
  constructor(made, worker) {
    super(made);
    this.worker = worker;
    this.mailbox = worker.mailbox;
    this.leadership = worker.leadership;
    this.registry = worker.registry;
    this.name = 'worker';
    this.workerId = worker.id;
    this.config = worker.welcome.config;
  }

  /**
   * Drains this worker alone; the exit follows on a later turn, unless the user's code exits first.
   *
   * @param {boolean} graceful
   */
  stop(graceful) {
    if (!graceful) {
      setImmediate(() => process.exit(0));
      return Promise.resolve();
    }
    const { drain } = this.worker;
    const drained = drain.leave();
    drained.then(() => setImmediate(() => setImmediate(() => drain.end())));
    return drained;
  }

  /** @override @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    this.worker.shutdown.onShutdown(hook);
  }

  /** @override @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    this.worker.shutdown.waitUntil(promise);
  }

  workers() {
    return addon.workerInfos();
  }

  metrics() {
    return addon.workerClusterMetrics();
  }

  health() {
    return addon.workerClusterHealth();
  }

  /** The manager's program listens to the cluster's events, or does no longer. @param {any} manager @param {boolean} follows */
  follow(manager, follows) {
    this.worker.follow(manager, follows);
  }

  /** Whether a load balancer should send anything here. */
  isReady() {
    return !this.worker.isUnready && !this.worker.drain.begun;
  }

  /** @param {string} verb @param {any} argument */
  order(verb, argument) {
    return this.worker.order(verb, argument);
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

/** Where not even the configuration can be read. */
const NO_LIMITS = { timeout: 30_000, maxMessageSize: 1024 * 1024, maxPending: 10_000, serialization: 'json' };

/** @param {any} message */
function emitMessage(message) {
  process.emit('message', message, undefined);
}

/** No cluster: one process that serves. */
class Single extends Serves {
  /** @param {Made} made */
  constructor(made) {
    super(made);
    this.name = 'single';
    this.workerId = undefined;
    this.config = made.prepared?.config ?? {};
    this.registry = new Registry();
    /** Another application of this process may serve on while these run. @type {import('../process/shutdown-hooks').Hooks} */
    this.hooks = [];
    this.heeded = false;
    this.hasStarted = false;
    /** A stop in order that is under way. @type {Promise<void> | null} */
    this.stopping = null;
    const ipc = this.config.ipc ?? NO_LIMITS;
    const wire = new Loopback(ipc);
    this.mailbox = new Mailbox({
      wire,
      listeners: { count: () => process.listenerCount('message'), emit: (message) => emitMessage(message) },
      advanced: ipc.serialization === 'advanced',
      isPrimary: true,
      workerId: undefined,
    });
    wire.deliver = (...batch) => this.mailbox.deliver(...batch);
    this.leadership = new Leadership({ isLeader: true, settled: () => Promise.resolve(), resigned() {} });
  }

  /**
   * @override
   * @param {import('../http/serving').Serving} serving
   * @param {import('../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    if (!this.hasStarted) for (const note of this.made.prepared?.notes ?? []) console.warn(`drover: ${note}`);
    if (this.made.prepared?.refusal) throw require('../errors').fromCore(this.made.prepared.refusal);
    if (this.config.logging?.requestIds) require('../http/request-ids').identifyRequests();
    const started = super.start(serving, options, errorEvent);
    if (this.config.monitoring?.enabled) alone()?.count(serving.server);
    await started;
    this.hasStarted = true;
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
        this.stopping = null;
      });
    return this.stopping;
  }

  /** @override @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    onShutdown(hook, this.hooks);
    this.#heedSignals();
  }

  /** @override @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    waitUntil(promise);
    this.#heedSignals();
  }

  /** Without a cluster nobody else hears the signal that a container or a service manager ends a program with. */
  #heedSignals() {
    if (this.heeded) return;
    this.heeded = true;
    stopAtSignals(() => this.stop(true), this.config.processManagement?.gracefulShutdownTimeout ?? UNCONFIGURED);
  }

  /** This process as a cluster of one; undefined where nothing can be measured. */
  itself() {
    const own = alone();
    const address = this.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    // A manager's own program listens by itself.
    const serves = this.servers().length > 0 || this.made.app === null;
    own?.stands(serves ? 'ready' : this.hasStarted ? 'stopping' : 'starting', port);
    return own;
  }

  workers() {
    return this.itself()?.workers() ?? [];
  }

  metrics() {
    const own = this.itself();
    return own === undefined ? this.refuse('getClusterMetrics') : { ...own.metrics(), userMetrics: this.registry.told() };
  }

  health() {
    return this.itself()?.health() ?? this.refuse('getClusterHealth');
  }

  isReady() {
    // A server that the program made itself around the application is no business of this object's.
    return this.servings.size === 0 || this.servers().length > 0;
  }

  /** @param {string} verb @returns {Promise<never>} */
  order(verb) {
    return Promise.reject(notClustered(verb));
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

/** The primary: its workers serve. */
class InPrimary {
  /** @param {Made} made @param {any} configuration @param {import('./cluster-manager').ClusterManager} manager */
  constructor(made, configuration, manager) {
    this.name = 'primary';
    this.workerId = undefined;
    this.config = made.prepared.config;
    /** Servers that the cluster serves for, by what holds their addresses. @type {Set<any>} */
    this.held = new Set();
    this.mailbox = new Mailbox({
      wire: null,
      listeners: {
        count: () => manager.listenerCount('message'),
        emit: (message, from) => manager.emit('message', this.sender(from), message),
      },
      advanced: this.config.ipc.serialization === 'advanced',
      isPrimary: true,
      workerId: undefined,
      retry: retryOf(this.config),
      note: (text) => this.primary.note(text),
    });
    /** Senders of messages, by their names. @type {Map<number, any>} */
    this.senders = new Map();
    this.leadership = new Leadership({ isLeader: false, settled: () => Promise.resolve(), resigned() {} });
    this.registry = new Registry();
    this.primary = new Primary(configuration, (event) => manager.hear(event), this.mailbox, {
      registry: this.registry,
      functions: made.functions,
      config: this.config,
      ended: () => this.ended(),
    });
    if (made.app !== null) recognise(made.app, this);
  }

  /** Who sent a message, as it was when it was heard of first: looking it up costs more than a message. @param {number} from */
  sender(from) {
    let sender = this.senders.get(from);
    if (sender === undefined) {
      const id = String(from % 65_536);
      sender = this.workers().find((/** @type {any} */ info) => info.id === id) ?? { id, workerId: id };
      this.senders.set(from, sender);
      // Those of earlier generations have said what they had to say.
      for (const other of this.senders.keys()) if (other < from && other % 65_536 === from % 65_536) this.senders.delete(other);
    }
    return sender;
  }

  /** Stands for a server of each worker's: one of Node's class that never takes a connection itself. */
  serving() {
    const server = http.createServer();
    serveFor(server, this);
    return new Serving(server);
  }

  /**
   * @param {import('../http/serving').Serving} serving
   * @param {import('../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    try {
      await serving.start(options, errorEvent);
    } catch (error) {
      if (this.held.size === 0) this.primary.fail();
      throw error;
    }
  }

  /**
   * Opens the address for the workers (null: they listen by themselves), and starts the cluster if it does not run.
   *
   * @param {any} held
   * @param {any} address
   * @param {{ backlog: number, mode: number }} options
   */
  async hold(held, address, options) {
    this.held.add(held);
    try {
      await this.primary.serve(address, options, {
        opened: (opened) => this.opened(held, address, opened),
        // Another server of this cluster serves on.
        isLast: () => this.held.size === 1,
      });
    } catch (error) {
      this.held.delete(held);
      throw error;
    }
  }

  /** @param {any} held @param {any} address @param {any} opened */
  opened(held, address, opened) {
    held.opened(address, opened);
    // It was closed meanwhile.
    if (!this.held.has(held)) this.primary.release(held.group);
  }

  /** A held server closes: its address is free, and with the last one the cluster ends. @param {any} held */
  release(held) {
    if (!this.held.delete(held)) return Promise.resolve();
    if (this.held.size === 0) return this.primary.stop(true);
    return this.primary.release(held.group);
  }

  /** The cluster is gone, and so are its servers. */
  ended() {
    const held = [...this.held];
    this.held.clear();
    // After those who wait for a start have heard of the end.
    setImmediate(() => held.forEach((one) => one.end()));
  }

  /** Something for the operator. @param {string} text */
  warn(text) {
    this.primary.warn(text);
  }

  /** Without an address of its own: the workers' program listens. */
  async startWorkers() {
    await this.primary.start();
  }

  address() {
    for (const { place } of this.held) if (place !== null) return place;
    return null;
  }

  /** Hooks are a worker's: this process has served nothing. */
  onShutdown() {}

  /** What the primary's program does is waited for when it stops at a signal. @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    waitUntil(promise);
  }

  close() {
    return this.primary.stop(true);
  }

  /** @param {boolean} graceful */
  stop(graceful) {
    return this.primary.stop(graceful);
  }

  workers() {
    return this.primary.workers();
  }

  metrics() {
    return this.primary.metrics();
  }

  health() {
    return this.primary.health();
  }

  /** @param {string} verb @param {any} argument */
  order(verb, argument) {
    return this.primary.order(verb, argument);
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

/** The cluster runs; a second start elsewhere would be another cluster. */
function alreadyStarted() {
  return new ClusterError('The cluster was started already, with another port or host', 'ALREADY_STARTED');
}

module.exports = { InPrimary, InWorker, Single, alreadyStarted };
