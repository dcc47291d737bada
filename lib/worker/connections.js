// @ts-check
'use strict';

// A worker's servers and their connections: which server has which share of the primary's listeners, and which
// connections have to move to other workers.

const { gracefulCloseOf } = require('../http/graceful-close');
const { handOffIdle, handOffOne } = require('../http/handoff');
const { follow } = require('../http/shutdown-notice');
const { fromCore, rethrow } = require('../errors');
const { CLOSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');

/** How long busy connections that have to move may take to become idle, milliseconds. */
const REBALANCE_TIMEOUT = 1000;

/** Numbers per connection in a batch: descriptor, remaining timeout, requests so far, 1 if it is routed per request. */
const BATCH_STRIDE = 4;

class Connections {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** By listener group. @type {Map<number, import('./listener-share').ListenerShare>} */
    this.shares = new Map();
    /** Servers that listen on sockets of this process only. @type {Set<any>} */
    this.ownServers = new Set();
    /** HTTP servers that close while other workers keep serving. @type {Set<any>} */
    this.closing = new Set();
    /** Number of connections that have to move and were not idle. */
    this.pendingRebalance = 0;
    this.rebalanceUntil = 0;
    /** A connection has come. */
    this.hasBegun = false;
    /** Counts the requests of an HTTP/2 server. @type {(server: any) => void} */
    this.countStreams = () => {};
  }

  /**
   * Adopts a batch of connections. An error of a listener is an 'uncaughtException' and does not affect the other
   * connections of the batch.
   *
   * @param {number} group
   * @param {number} count
   */
  adopt(group, count) {
    const share = this.shares.get(group);
    const { batch, cells } = this.worker;
    if (!this.hasBegun) {
      this.hasBegun = true;
      this.worker.aftermath.begin();
    }
    if (share === undefined) {
      for (let index = 0; index < count; index++) addon.closeDescriptor(batch[index * BATCH_STRIDE]);
      cells[CLOSED] += count;
      return;
    }
    share.isAdopting = true;
    for (let at = 0; at < count * BATCH_STRIDE; at += BATCH_STRIDE) {
      try {
        share.adopt(batch[at], batch[at + 1], batch[at + 2], batch[at + 3] === 1);
      } catch (error) {
        process.nextTick(rethrow, error);
      }
    }
    share.isAdopting = false;
    share.tally.update();
    if (share.credit !== null) share.updateConnectionLimit();
  }

  /**
   * Makes a server serve with its share. False on failure: the server is closed and emits the error.
   *
   * @param {import('./listener-share').ListenerShare} share
   * @param {boolean} isPlainHttp
   */
  open(share, isPlainHttp) {
    const { server, group } = share;
    gracefulCloseOf(server)?.end();
    this.shares.set(group, share);
    this.worker.virtualListeners?.opened(share);
    const { error } = addon.workerServe(group, isPlainHttp);
    if (error) {
      // Before the server emits 'listening', which it does only while it has a handle.
      runtime.handleOf(server).close();
      runtime.setHandle(server, null);
      process.nextTick(() => server.emit('error', fromCore(error)));
      return false;
    }
    this.worker.healthChecks.followServers();
    return true;
  }

  /**
   * A server listens on a handle of this process, or on the handle of another server's share, which then belongs to it.
   *
   * @param {any} server
   */
  openOwn(server) {
    const share = this.shareWith(runtime.handleOf(server));
    if (share !== undefined) {
      share.serveWith(server);
    } else if (!this.ownServers.has(server)) {
      this.ownServers.add(server);
      server.once('close', () => this.ownServers.delete(server));
      follow(server);
      this.countStreams(server);
    }
    this.worker.healthChecks.followServers();
    if (this.worker.hello.ready === 'listen') this.worker.ready();
  }

  /**
   * Removes a share, through which no more connections arrive.
   *
   * @param {import('./listener-share').ListenerShare} share
   */
  close(share) {
    if (this.shares.get(share.group) !== share) return;
    const { ok, error } = addon.workerClose(share.group);
    if (error) this.worker.channelFailed('The primary does not know that a server of this worker has closed', error);
    share.isServedByOthers = ok === true;
    this.shares.delete(share.group);
    this.worker.healthChecks.followServers();
    this.worker.readInboxLater();
  }

  /** Every listening server of this process, on the primary's listener or on its own. @returns {any[]} */
  servers() {
    const shared = [...this.shares.values()].map((share) => share.server);
    return [...shared, ...[...this.ownServers].filter((server) => server.listening)];
  }

  /** @param {any} server @returns {import('./listener-share').ListenerShare | undefined} */
  shareOf(server) {
    for (const share of this.shares.values()) if (share.server === server) return share;
    return undefined;
  }

  /** @param {any} handle @returns {import('./listener-share').ListenerShare | undefined} */
  shareWith(handle) {
    for (const share of this.shares.values()) if (share.handle === handle) return share;
    return undefined;
  }

  /** Hands idle connections off to lighter workers, and busy ones when their response is done. @param {number} count */
  rebalance(count) {
    if (this.worker.virtualListeners !== null) return this.worker.virtualListeners.rebalance(count);
    for (const { server, group } of this.shares.values()) count -= handOffIdle(server, group, count);
    this.pendingRebalance = count;
    this.rebalanceUntil = performance.now() + REBALANCE_TIMEOUT;
  }

  /** Whether connections still have to move. */
  get isRebalancing() {
    return this.pendingRebalance > 0;
  }

  /** A response on this connection has finished while connections have to move. @param {any} socket */
  handOffPending(socket) {
    if (performance.now() > this.rebalanceUntil) this.pendingRebalance = 0;
    const share = this.pendingRebalance > 0 ? this.shareOf(socket.server) : undefined;
    if (share !== undefined && handOffOne(share.server, share.group, socket)) this.pendingRebalance -= 1;
  }

  /**
   * Returns a connection that is routed per request to the primary when its response is done: its next request may
   * belong to another worker.
   *
   * @param {any} socket
   * @param {any} response
   */
  returnToPrimary(socket, response) {
    if (!this.canHandOff()) return;
    // The response is still in transit to a slow reader.
    if (runtime.responseOf(socket) === response) {
      response.once('finish', () => setImmediate(() => this.returnToPrimary(socket, response)));
      return;
    }
    const share = this.shareOf(socket.server);
    if (share !== undefined) handOffOne(share.server, share.group, socket);
  }

  /** Whether connections may be handed off now. */
  canHandOff() {
    return this.worker.hello.handoff && this.worker.drain.handoff;
  }
}

exports.Connections = Connections;
