// @ts-check
'use strict';

// The application's methods in the primary: the workers serve, and the primary holds their addresses.

const http = require('node:http');
const { coreCache, joinFleet, sharedCache } = require('../../cache/cache');
const { Serving } = require('../../http/serving');
const { MessageEndpoint } = require('../../messages/endpoint');
const { slotOf } = require('../../messages/numbers');
const { Registry } = require('../../metrics/registry');
const { recognise, serveFor } = require('../../primary/own-servers');
const { Primary } = require('../../primary/primary');
const { fleetOf } = require('../../fleet/fleet');
const { Leadership } = require('../../process/leadership');
const { waitUntil } = require('../../process/shutdown-hooks');
const { retryOf } = require('../../retry');

class PrimaryRole {
  /** @param {import('./serving-role').Made} made @param {any} configuration @param {import('../cluster-manager').ClusterManager} manager */
  constructor(made, configuration, manager) {
    this.name = 'primary';
    this.workerId = undefined;
    this.config = made.prepared.config;
    /** Servers whose addresses the cluster serves. @type {Set<any>} */
    this.held = new Set();
    this.messages = new MessageEndpoint({
      wire: null,
      listeners: {
        count: () => manager.listenerCount('message'),
        emit: (message, from) => void manager.emit('message', this.sender(from), message),
      },
      advanced: this.config.ipc.serialization === 'advanced',
      isPrimary: true,
      workerId: undefined,
      retry: retryOf(this.config),
      note: (text) => this.primary.note(text),
      timeout: this.config.ipc.timeout,
    });
    /** Senders of messages, by their ids. @type {Map<number, any>} */
    this.senders = new Map();
    this.registry = new Registry();
    const cache = coreCache(this.config.cache);
    this.cache = sharedCache(cache.open.bind(cache), this.config.cache, () => cache.save());
    const own = fleetOf(configuration, cache, { config: this.config.redis, isLocalLeader: () => true, receives: false });
    this.fleet = own.fleet;
    if (own.native !== null) {
      this.messages.join(own.fleet);
      joinFleet(this.cache, own.fleet);
    }
    this.leadership = new Leadership({ isLeader: false, fleet: own.fleet, settled: () => Promise.resolve(), resigned() {} });
    this.primary = new Primary(configuration, (event) => manager.onEvent(event), this.messages, {
      registry: this.registry,
      functions: made.functions,
      config: this.config,
      cache,
      saveCache: () => this.cache.save(),
      fleet: own,
      ended: () => this.ended(),
    });
    if (made.app !== null) recognise(made.app, this);
  }

  /**
   * The sender of a message, as it was at its first message: a lookup costs more than a message.
   *
   * @param {number} from
   */
  sender(from) {
    let sender = this.senders.get(from);
    if (sender === undefined) {
      const id = slotOf(from);
      sender = this.workers().find((/** @type {any} */ info) => info.id === id) ?? { id, workerId: id };
      this.senders.set(from, sender);
      // Workers of earlier generations send no more messages.
      for (const other of this.senders.keys()) if (other < from && slotOf(other) === id) this.senders.delete(other);
    }
    return sender;
  }

  /** Creates a server that represents those of the workers: of Node's class, but it never gets a connection itself. */
  serving() {
    const server = http.createServer();
    serveFor(server, this);
    return new Serving(server);
  }

  /**
   * @param {import('../../http/serving').Serving} serving
   * @param {import('../../http/serving').ListenOptions} options
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
   * Opens the address for the workers (null: their program listens by itself), and starts the cluster if it does not
   * run.
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
        // Another server of this cluster keeps serving.
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
    // The server was closed meanwhile.
    if (!this.held.has(held)) this.primary.release(held.group);
  }

  /** Releases the address of a held server that closes; the last one ends the cluster. @param {any} held */
  release(held) {
    if (!this.held.delete(held)) return Promise.resolve();
    if (this.held.size === 0) return this.primary.stop(true);
    return this.primary.release(held.group);
  }

  /** The cluster has ended; closes its servers. */
  ended() {
    const held = [...this.held];
    this.held.clear();
    // After the promises of pending starts have rejected.
    setImmediate(() => held.forEach((one) => one.end()));
  }

  /** Writes a log line for the operator. @param {string} text */
  warn(text) {
    this.primary.warn(text);
  }

  /** Starts the cluster without an address: the workers' program listens by itself. */
  async startWorkers() {
    await this.primary.start();
  }

  address() {
    for (const { address } of this.held) if (address !== null) return address;
    return null;
  }

  /** Hooks run in workers only: the primary has served nothing. */
  onShutdown() {}

  /** A stop by a signal waits for this promise of the primary's program. @param {PromiseLike<unknown>} promise */
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
  command(verb, argument) {
    return this.primary.command(verb, argument);
  }
}

module.exports = { PrimaryRole };
