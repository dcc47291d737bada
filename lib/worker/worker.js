// @ts-check
'use strict';

// The worker of this process: its state and its parts.

const { joinFleet, sharedCache } = require('../cache/cache');
const { ClusterError } = require('../errors');
const { Fleet, FleetOfOne } = require('../fleet/fleet');
const { MessageEndpoint } = require('../messages/endpoint');
const { Registry, storeOf } = require('../metrics/registry');
const { addon } = require('../native');
const { heldWorker } = require('../process/copies');
const { Leadership } = require('../process/leadership');
const shutdownHooks = require('../process/shutdown-hooks');
const { retryOf } = require('../retry');
const runtime = require('../runtime');
const { Aftermath } = require('./aftermath');
const { Commands } = require('./commands');
const { Connections } = require('./connections');
const { VirtualListeners } = require('./virtual-listeners');
const { Drain } = require('./drain');
const { EventSubscriptions } = require('./event-subscriptions');
const { HealthChecks } = require('./health-checks');
const { InnerCluster } = require('./inner-cluster');
const { notificationHandler } = require('./notifications');
const { disconnected } = require('./process-send');
const { WorkerSignals } = require('./worker-signals');

/** @type {Worker | null} */
let current = null;

/** The worker of this process, or null. */
function worker() {
  return current ?? heldWorker();
}

class Worker {
  /** Hints that were logged. @type {Set<string>} */
  #hints = new Set();

  /** @param {any} hello the primary's first message: the worker's identity and configuration */
  constructor(hello) {
    this.hello = hello;
    this.id = String(hello.worker.slot);
    /** Applies settings of adaptive admission; null: off. @type {(settings: import('../http/admission').Settings | null) => void} */
    this.setAdmission = () => {};
    /** A stop has been announced; the worker still serves. */
    this.isUnready = false;
    /** The primary is ending or has ended. */
    this.orphaned = false;
    /** The hooks that its drain runs, for all copies of the package. */
    this.shutdownHooks = shutdownHooks;
    this.connections = new Connections(this);
    /** Its shared datagram sockets. @type {import('./datagram-sockets').DatagramSockets | undefined} */
    this.datagrams = undefined;
    /** Where its runtime accepts by itself; null if drover accepts. */
    this.virtualListeners = runtime.acceptsItself ? new VirtualListeners(this) : null;
    this.aftermath = new Aftermath(this);
    this.drain = new Drain(this);
    this.healthChecks = new HealthChecks(this);
    this.signals = new WorkerSignals(this);
    /** Processes that the program forks with node:cluster. */
    this.inner = new InnerCluster(this);
    this.commands = new Commands();
    this.events = new EventSubscriptions();
    /** The program's own metrics. */
    this.registry = new Registry(() => storeOf(addon.workerMetricStore(), (text) => this.hint(text)));
    this.cache = sharedCache(addon.workerOpenCache, hello.config.cache);
    const { redis } = hello.config;
    /** The fleet, if there is one. */
    this.fleet = redis?.enabled ? fleetOfWorker(redis, () => this.leadership.isLeader) : new FleetOfOne(() => this.leadership.isLeader);
    this.leadership = new Leadership({
      isLeader: false,
      fleet: this.fleet,
      settled: () => this.commands.send('leader', null),
      resigned: addon.workerResigned,
    });
    this.messages = new MessageEndpoint({
      wire: {
        post: addon.workerPostFunction(),
        requestAll: addon.workerRequestAll,
        error: addon.postError,
        workerIdOf: addon.workerIdOf,
        targets: addon.workerTargets,
      },
      listeners: {
        count: () => process.listenerCount('message'),
        emit: runtime.emitMessage,
      },
      advanced: hello.messages.advanced,
      isPrimary: false,
      workerId: this.id,
      retry: retryOf(hello.config),
      timeout: hello.messages.timeout_ms,
    });
    const shared = { cells: new ArrayBuffer(0), batch: new ArrayBuffer(0), tickets: new ArrayBuffer(0) };
    const { error } = addon.startWorker(
      shared,
      (/** @type {number} */ group, /** @type {number} */ count) => this.connections.adopt(group, count),
      notificationHandler(this),
      this.messages.deliver.bind(this.messages),
    );
    if (error) throw new ClusterError(error.message, error.code, error.details);
    if (this.fleet instanceof Fleet) {
      this.messages.join(this.fleet);
      joinFleet(this.cache, this.fleet);
      this.fleet.join();
    }
    /** This worker's metric cells in shared memory. */
    this.cells = new Float64Array(shared.cells);
    /** The keys of TLS session tickets: see lib/worker/tls-tickets.js. */
    this.tickets = shared.tickets;
    /** A batch of connections: see lib/worker/connections.js. */
    this.batch = new Int32Array(shared.batch);
  }

  /** The primary is gone: this process is no longer the leader and can send no messages. */
  orphan() {
    if (this.orphaned) return;
    this.orphaned = true;
    this.drain.handoff = false;
    this.leadership.isLeader = false;
    if (!process.connected) return;
    disconnected();
    process.nextTick(() => process.emit('disconnect'));
  }

  /**
   * Asks the primary for a share of an address. Blocks for the reply: the primary's Rust side replies within
   * microseconds, and `server.address()` is correct as soon as `listen` returns, as without drover.
   *
   * @param {object} address
   * @param {number} backlog
   * @param {{ mode?: number, before?: number, lived_ms?: number | null }} [more]
   * @returns {{ group: number, host: string | null, port: number, fd: number, errno?: number }}
   */
  listen(address, backlog, more) {
    const answer = addon.workerListen(address, { backlog, ...more });
    this.readInboxLater();
    return answer;
  }

  /** Reports to the primary that this worker is ready. */
  ready() {
    const { error } = addon.workerReady();
    if (error) this.channelFailed('The primary does not know that this worker is ready', error);
  }

  /** Handles messages that arrived while a reply was awaited, which would otherwise stay until the next message. */
  readInboxLater() {
    if (addon.workerHasPendingMessages()) setImmediate(addon.workerReadInbox);
  }

  /**
   * Logs a hint for the operator, once per cluster.
   *
   * @param {string} text
   * @param {boolean} [warns] log it as a warning
   */
  hint(text, warns = true) {
    if (this.#hints.has(text)) return;
    this.#hints.add(text);
    addon.workerHint(text, warns);
  }

  /**
   * Reports that a message to the primary could not be sent, except in an orphan, which has no primary.
   *
   * @param {string} consequence
   * @param {{ message: string }} error the core's
   */
  channelFailed(consequence, { message }) {
    if (!this.orphaned) console.error(`drover: ${consequence}: ${message}`);
  }
}

/** @param {any} config the options in `redis` @param {() => boolean} isLocalLeader */
function fleetOfWorker(config, isLocalLeader) {
  return new Fleet({ open: addon.workerOpenFleet, isLocalLeader, config });
}

/** Makes this process a worker. @param {any} hello */
function becomeWorker(hello) {
  current = new Worker(hello);
  return current;
}

exports.Worker = Worker;
exports.becomeWorker = becomeWorker;
exports.worker = worker;
