// @ts-check
'use strict';

// The servers of a runtime that accepts connections by itself (Bun), at the doors that the core gives it. Their connections
// belong to the core (src/worker/runtime_connections.rs), which moves them to other workers as they become idle.

const { addon } = require('../native');
const runtime = require('../runtime');

/** All connections of a group. */
const ALL = -1;
/** How often remaining connections are counted, milliseconds. */
const LOOK_INTERVAL = 10;
/** How long connections that may move may take to become idle after their server has closed, milliseconds. */
const HANDOFF_TIMEOUT = 10_000;
/** How long connections that have to move for balance may take to become idle, milliseconds. */
const REBALANCE_TIMEOUT = 1000;
/** How long a connection may stay idle if its server has no limit, milliseconds. */
const UNLIMITED = 0x7fffffff;

class Doors {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** The group of each server that listens or has listened. @type {WeakMap<object, number>} */
    this.groups = new WeakMap();
    /** Groups whose server has closed: all their connections move. @type {Set<number>} */
    this.leaving = new Set();
  }

  /** @param {import('./listener-share').ListenerShare} share */
  opened({ server, group }) {
    this.leaving.delete(group);
    this.groups.set(server, group);
  }

  /** A draining worker's server takes no new connections, and its own move to other workers. @param {any} server */
  stop(server) {
    const share = this.worker.connections.shareOf(server);
    if (share === undefined) return;
    this.worker.connections.close(share);
    this.#move(share);
  }

  /** @param {import('./listener-share').ListenerShare} share @param {number} [most] */
  #move({ server, group }, most = ALL) {
    if (most === ALL) this.leaving.add(group);
    if (this.worker.connections.canHandOff()) addon.workerMoveConnections(group, most, runtime.idleTimeoutOf(server) || UNLIMITED);
  }

  /**
   * The program closes the share's server: its connections move to other workers first. Resolves when the runtime may close
   * the others; null: at once.
   *
   * @param {import('./listener-share').ListenerShare} share closed
   * @returns {Promise<void> | null}
   */
  leave(share) {
    if (!share.isServedByOthers || !this.worker.connections.canHandOff()) return null;
    this.#move(share);
    const since = performance.now();
    const isDone = () => addon.workerConnectionCounts(share.group).movable === 0 || performance.now() - since > HANDOFF_TIMEOUT;
    if (isDone()) return null;
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!isDone()) return;
        clearInterval(timer);
        resolve();
      }, LOOK_INTERVAL);
    });
  }

  /** Idle connections move to lighter workers, and busy ones when their response is done. @param {number} count */
  rebalance(count) {
    for (const share of this.worker.connections.shares.values()) {
      const { open } = addon.workerConnectionCounts(share.group);
      const most = Math.min(count, open);
      if (most === 0) continue;
      count -= most;
      this.#move(share, most);
      setTimeout(() => this.#stay(share.group), REBALANCE_TIMEOUT).unref();
    }
  }

  /** What has not moved for balance stays. @param {number} group */
  #stay(group) {
    if (!this.leaving.has(group)) addon.workerMoveConnections(group, 0, 0);
  }

  /** A health check's connection comes to the server like any other; the core does not count it. @param {any} server @param {number} fd */
  probe(server, fd) {
    const group = this.groups.get(server);
    if (group === undefined) addon.closeDescriptor(fd);
    else addon.workerProbe(group, fd);
  }

  /** Whether every request of the server is answered; event streams and upgraded connections do not count. @param {any} server */
  isAnswered(server) {
    const group = this.groups.get(server);
    if (runtime.isEncrypted(server)) return !runtime.hasRequests(server);
    return group === undefined || addon.workerConnectionCounts(group).busy === 0;
  }
}

exports.Doors = Doors;
