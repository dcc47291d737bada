// @ts-check
'use strict';

// A worker's servers and the connections that come to them: which server has which share of the primary's listeners,
// and which of its connections are to go to other workers.

const { gracefulCloseOf } = require('../http/graceful-close');
const { handOffIdle, handOffOne } = require('../http/handoff');
const { follow } = require('../http/shutdown-notice');
const { fromCore, rethrow } = require('../errors');
const { CLOSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');

/** Connections that others are to have and that are busy may go so much later, milliseconds. */
const REBALANCE_TIMEOUT = 1000;

/** Numbers of a connection in a batch: its descriptor, its remaining timeout, its requests so far, 1 when it is routed per request. */
const BATCH_STRIDE = 4;

class Connections {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** By listener group. @type {Map<number, import('./listener-share').ListenerShare>} */
    this.shares = new Map();
    /** Servers that listen by themselves, on sockets of this process's own. @type {Set<any>} */
    this.ownServers = new Set();
    /** HTTP servers that close while others serve on. @type {Set<any>} */
    this.closing = new Set();
    /** Connections that others are to have, and that were not idle. */
    this.pendingRebalance = 0;
    this.rebalanceUntil = 0;
    /** A connection has come. */
    this.hasBegun = false;
    /** Counts the requests of an HTTP/2 server. @type {(server: any) => void} */
    this.countStreams = () => {};
  }

  /**
   * Adopts a batch of connections. A listener that throws is Node's 'uncaughtException' as ever, and the other
   * connections of the batch are not harmed.
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
    if (share.credit !== null) share.updateRoom();
  }

  /**
   * A server serves with its share from now on. False when that is not possible: the server is closed, and emits the
   * error.
   *
   * @param {import('./listener-share').ListenerShare} share
   * @param {boolean} isPlainHttp
   */
  open(share, isPlainHttp) {
    const { server, group } = share;
    gracefulCloseOf(server)?.end();
    this.shares.set(group, share);
    const { error } = addon.workerServe(group, isPlainHttp);
    if (error) {
      // Before the server says that it listens, which it does only while it has a handle.
      runtime.handleOf(server).close();
      runtime.setHandle(server, null);
      process.nextTick(() => server.emit('error', fromCore(error)));
      return false;
    }
    this.worker.healthChecks.followServers();
    return true;
  }

  /**
   * A server listens on a handle that is this process's own, or on that of another server's share, which is its
   * from now on.
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

  /** No more connections come by this share. @param {import('./listener-share').ListenerShare} share */
  close(share) {
    if (this.shares.get(share.group) !== share) return;
    const { ok, error } = addon.workerClose(share.group);
    if (error) this.worker.channelFailed('The primary does not know that a server of this worker has closed', error);
    share.isServedByOthers = ok === true;
    this.shares.delete(share.group);
    this.worker.healthChecks.followServers();
    this.worker.readInboxLater();
  }

  /** Every server of this process that listens, the primary's listener behind it or not. @returns {any[]} */
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

  /** Hands idle connections to lighter workers, and busy ones when their response is done. @param {number} count */
  rebalance(count) {
    for (const { server, group } of this.shares.values()) count -= handOffIdle(server, group, count);
    this.pendingRebalance = count;
    this.rebalanceUntil = performance.now() + REBALANCE_TIMEOUT;
  }

  /** Others are still to have some of the connections. */
  get isRebalancing() {
    return this.pendingRebalance > 0;
  }

  /** A response on this connection was done while others were to have some. @param {any} socket */
  handOffPending(socket) {
    if (performance.now() > this.rebalanceUntil) this.pendingRebalance = 0;
    const share = this.pendingRebalance > 0 ? this.shareOf(socket.server) : undefined;
    if (share !== undefined && handOffOne(share.server, share.group, socket)) this.pendingRebalance -= 1;
  }

  /**
   * Gives a connection that is routed by its requests back, now that its response is done: its next request may belong to
   * another worker.
   *
   * @param {any} socket
   * @param {any} response
   */
  returnToPrimary(socket, response) {
    if (!this.canHandOff()) return;
    // The response is still on its way to a slow reader.
    if (runtime.responseOf(socket) === response) {
      response.once('finish', () => setImmediate(() => this.returnToPrimary(socket, response)));
      return;
    }
    const share = this.shareOf(socket.server);
    if (share !== undefined) handOffOne(share.server, share.group, socket);
  }

  /** Whether connections may go to other workers now. */
  canHandOff() {
    return this.worker.hello.handoff && this.worker.drain.handoff;
  }
}

exports.Connections = Connections;
