// @ts-check
'use strict';

// The messages of all adapters of a process: one handler, which passes each message to the adapters of its namespace.

const { randomUUID } = require('node:crypto');
const { encode } = require('../../messages/body');
const { fleetOf } = require('../source');

/** The type of drover's messages that carry those of the adapters. */
const TYPE = 'drover:socket.io';
/** How long other machines have to append what was appended here; milliseconds. */
const REPLICATION_TIMEOUT = 10_000;
/** The default of `ipc.maxMessageSize`. */
const DEFAULT_MESSAGE_SIZE = 1 << 20;
/** How long other workers have to let go of a session; milliseconds. */
const RELEASE_TIMEOUT = 1000;

/** @typedef {import('./adapter').DroverAdapter} Adapter */

/** @type {WeakMap<object, Hub>} */
const hubs = new WeakMap();

class Hub {
  #app;
  #fleet;
  #hasWarned = false;
  /** Maximum bytes of a message. @type {number | undefined} */
  #most;
  /** What other machines have appended is in the log here. @type {Promise<void>} */
  #appending = Promise.resolve();
  /** In a cluster of one, messages to all workers come back. */
  #id = randomUUID();
  /** @type {Set<any>} */
  #adapters = new Set();
  /** The workers of other adapters, by the adapters' uids. @type {Map<string, string>} */
  #workers = new Map();

  /** @param {any} app */
  constructor(app) {
    this.#app = app;
    this.#fleet = fleetOf(app);
    app.onMessage(TYPE, (/** @type {any} */ message, /** @type {any} */ { workerId, machine }) => this.#receive(message, machine === undefined ? workerId : undefined));
  }

  /** @param {any} adapter */
  add(adapter) {
    this.#adapters.add(adapter);
  }

  /** @param {any} adapter */
  remove(adapter) {
    this.#adapters.delete(adapter);
  }

  /** The adapters of a namespace in this process, but this one. @param {string} namespace @param {any} [sender] */
  #of(namespace, sender) {
    return [...this.#adapters].filter((adapter) => adapter !== sender && adapter.nsp.name === namespace);
  }

  /**
   * What other workers have sent; the response tells which adapters have it.
   *
   * @param {any} message
   * @param {string | undefined} workerId of this machine
   */
  async #receive({ namespace, hub, release, foreign, ...rest }, workerId) {
    if (hub === this.#id) return [];
    if (rest.message !== undefined && workerId !== undefined) this.#workers.set(rest.message.uid, workerId);
    const adapters = this.#of(namespace);
    if (release !== undefined) {
      await Promise.all(adapters.map((adapter) => adapter.release(release)));
      return [];
    }
    if (foreign !== undefined) {
      // One after the other: what an adapter has sent stays in its order.
      const appended = this.#appending.then(() => adapters[0]?.appendForeign(foreign));
      this.#appending = appended.catch(() => {});
      await appended;
      return [];
    }
    for (const adapter of adapters) adapter.receive(rest);
    return adapters.map(({ uid }) => uid);
  }

  /**
   * Sends a message to all other adapters of the namespace; resolves to the uids of those that have it.
   *
   * @param {any} sender
   * @param {any} message
   * @param {'cluster' | 'fleet'} [scope] which machines
   * @returns {Promise<string[]>}
   */
  async publish(sender, message, scope = 'fleet') {
    const namespace = sender.nsp.name;
    const here = this.#of(namespace, sender);
    const sent = this.#app.broadcastToWorkers(TYPE, { namespace, hub: this.#id, ...message }, { scope });
    for (const adapter of here) adapter.receive(message);
    /** @type {any[]} */
    const responses = await sent;
    return [...here.map(({ uid }) => uid), ...responses.flatMap(({ success, data }) => (success ? data : []))];
  }

  /**
   * Sends what an adapter has appended to its log to the machines that have others, in batches that fit in a message. A packet
   * that is too large stays in its machine, which is said once.
   *
   * @param {any} sender
   * @param {any[]} entries
   */
  replicate(sender, entries) {
    if (this.#fleet === null) return;
    const foreign = { uid: sender.uid, batch: sender.batches + 1, entries };
    const content = encode({ type: TYPE, data: { namespace: sender.nsp.name, hub: this.#id, foreign } }, false);
    this.#most ??= this.#app.cluster?.getConfig().ipc?.maxMessageSize ?? DEFAULT_MESSAGE_SIZE;
    const most = /** @type {number} */ (this.#most);
    if (Buffer.byteLength(content.body) <= most) {
      sender.batches += 1;
      // Machines that are not reached do not have it, as with every message between machines.
      this.#fleet.broadcast(TYPE, content, REPLICATION_TIMEOUT).catch(() => {});
    } else if (entries.length > 1) {
      const half = entries.length >> 1;
      this.replicate(sender, entries.slice(0, half));
      this.replicate(sender, entries.slice(half));
    } else if (!this.#hasWarned) {
      this.#hasWarned = true;
      console.warn(`drover: a packet of Socket.IO is larger than ipc.maxMessageSize (${most}): clients of other machines do not get it. No later one is named`);
    }
  }

  /** Answers another adapter. @param {any} sender @param {string} to its uid @param {any} message */
  async respond(sender, to, message) {
    const namespace = sender.nsp.name;
    const here = this.#of(namespace, sender).find(({ uid }) => uid === to);
    const worker = this.#workers.get(to);
    if (here !== undefined) here.receive({ to, message });
    else if (worker !== undefined) await this.#app.sendToWorker(worker, TYPE, { namespace, hub: this.#id, to, message });
    else await this.publish(sender, { to, message });
  }

  /** The adapter is gone. @param {string} uid */
  forget(uid) {
    this.#workers.delete(uid);
  }

  /** Asks all other processes to end the connection of a session, which its client has left. @param {any} sender @param {string} pid */
  async release(sender, pid) {
    const namespace = sender.nsp.name;
    const sent = this.#app.broadcastToWorkers(TYPE, { namespace, hub: this.#id, release: pid }, { timeout: RELEASE_TIMEOUT });
    await Promise.all([sent, ...this.#of(namespace, sender).map((adapter) => adapter.release(pid))]);
  }
}

/** The hub of an app. @param {any} app */
function hubOf(app) {
  const hub = hubs.get(app) ?? new Hub(app);
  hubs.set(app, hub);
  return hub;
}

module.exports = { hubOf };
