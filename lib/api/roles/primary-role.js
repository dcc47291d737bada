// @ts-check
'use strict';

// What an application's methods do in the primary: its workers serve, and it holds their addresses.

const http = require('node:http');
const { notSupported } = require('../../errors');
const { Serving } = require('../../http/serving');
const { MessageEndpoint } = require('../../messages/endpoint');
const { slotOf } = require('../../messages/numbers');
const { Registry } = require('../../metrics/registry');
const { recognise, serveFor } = require('../../primary/own-servers');
const { Primary } = require('../../primary/primary');
const { Leadership } = require('../../process/leadership');
const { waitUntil } = require('../../process/shutdown-hooks');
const { retryOf } = require('../../retry');

class PrimaryRole {
  /** @param {import('./serving-role').Made} made @param {any} configuration @param {import('../cluster-manager').ClusterManager} manager */
  constructor(made, configuration, manager) {
    this.name = 'primary';
    this.workerId = undefined;
    this.config = made.prepared.config;
    /** Servers that the cluster serves for, by what holds their addresses. @type {Set<any>} */
    this.held = new Set();
    this.messages = new MessageEndpoint({
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
    this.primary = new Primary(configuration, (event) => manager.onEvent(event), this.messages, {
      registry: this.registry,
      functions: made.functions,
      config: this.config,
      ended: () => this.ended(),
    });
    if (made.app !== null) recognise(made.app, this);
  }

  /** Who sent a message, as it was at its first message: looking it up costs more than a message. @param {number} from */
  sender(from) {
    let sender = this.senders.get(from);
    if (sender === undefined) {
      const id = slotOf(from);
      sender = this.workers().find((/** @type {any} */ info) => info.id === id) ?? { id, workerId: id };
      this.senders.set(from, sender);
      // Those of earlier generations send nothing any more.
      for (const other of this.senders.keys()) if (other < from && slotOf(other) === id) this.senders.delete(other);
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
    // After the promises of starts that wait have rejected.
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
    for (const { address } of this.held) if (address !== null) return address;
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
  command(verb, argument) {
    return this.primary.command(verb, argument);
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

module.exports = { PrimaryRole };
