// @ts-check
'use strict';

// A worker's share of a listener: connections arrive as descriptors, from the slot's own listener or from the primary,
// and are passed to Node through the server handle's `onconnection`. The handle is a real one on the shared listener
// that libuv never polls: drover accepts, so that no connection is lost at the limit of file descriptors, and
// `address()`, `close()`, `ref()` remain Node's own.

const { listenError, unwrap } = require('../errors');
const { closeAlike } = require('../http/graceful-close');
const { learn, resume, routePerRequest } = require('../http/handoff');
const { follow } = require('../http/shutdown-notice');
const { CLOSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');
const { remainingConnections } = require('./max-connections');
const { tallyOf } = require('./server-tally');

class ListenerShare {
  /**
   * @param {import('./worker').Worker} worker
   * @param {any} server
   * @param {{ group: number, host: string | null, port: number, fd: number }} listened
   * @param {() => void} closed called when it closes
   */
  constructor(worker, server, { group, host, port, fd }, closed) {
    this.worker = worker;
    this.group = group;
    this.server = server;
    this.tally = tallyOf(worker.cells, server);
    this.serveWith(server);
    /**
     * How many connections the primary may still send, as last reported to it; null: any number. With a runtime that accepts by
     * itself, the server's limit: the core reports how many are left.
     *
     * @type {number | null}
     */
    this.credit = null;
    /** Opened after the worker was ready: during its work, or late in its start. */
    this.isLate = addon.workerIsReady();
    /** Closed while other workers still serve the address. */
    this.isServedByOthers = false;
    /** A batch of connections is being adopted. */
    this.isAdopting = false;
    /** Whether it keeps the process alive, set by `server.ref()` and `server.unref()`. */
    this.keepsAlive = true;
    /**
     * Whether the keys and listeners of an untouched connection are known; they are recorded from the first one.
     */
    this.isLearned = false;
    this.handle = runtime.openHandle(fd);
    runtime.hookHandle(this.handle, {
      ref: () => this.keepAlive(true),
      unref: () => this.keepAlive(false),
      hasRef: () => addon.workerKeepsAlive(group),
      close: () => {
        closed();
        worker.connections.close(this);
        return worker.virtualListeners?.leave(this) ?? null;
      },
      bind: () => {
        const { error } = addon.workerBindNext(group, fd);
        if (error?.details?.errno) throw listenError(error.details.errno, host, port);
        unwrap({ error });
      },
      hasBound: () => addon.workerHasBound(),
    });
  }

  /**
   * Passes the share to another server: a program may listen on the handle of another of its servers.
   *
   * @param {any} server
   */
  serveWith(server) {
    this.server = server;
    this.tally.share = null;
    this.tally = tallyOf(this.worker.cells, server);
    this.tally.share = this;
    follow(server);
    closeAlike(this.worker, server);
  }

  /** @param {boolean} keepsAlive */
  keepAlive(keepsAlive) {
    this.keepsAlive = keepsAlive;
    addon.workerKeepAlive(this.group, keepsAlive);
  }

  /** Starts to serve; the server has the handle and may have called `unref` before. */
  open(/** @type {boolean} */ isPlainHttp) {
    const remaining = remainingConnections(this.server);
    if (remaining !== null) this.setConnectionLimit(remaining);
    if (this.worker.connections.open(this, isPlainHttp) && !this.keepsAlive) this.keepAlive(false);
  }

  /** @param {number | null} remaining */
  setConnectionLimit(remaining) {
    this.credit = remaining;
    if (runtime.acceptsItself) addon.workerMaxConnections(this.group, remaining ?? -1);
    else addon.workerConnectionLimit(this.group, remaining ?? -1);
  }

  /** Reports to the primary how many connections the server takes, unless it knows already. */
  updateConnectionLimit() {
    if (this.isAdopting || this.worker.connections.shares.get(this.group) !== this) return;
    const { credit } = this;
    const remaining = remainingConnections(this.server);
    if (runtime.acceptsItself) {
      if (remaining !== credit) this.setConnectionLimit(remaining);
    } else if (remaining === null ? credit !== null : credit === null || remaining < credit || (credit <= 0 && remaining > 0)) this.setConnectionLimit(remaining);
  }

  /**
   * The server is full: passes the connection on to another worker instead of closing it.
   *
   * @param {[fd: number, remaining: number, served: number, isPerRequest: boolean]} connection
   */
  handBack(...connection) {
    const [fd, remaining, served] = connection;
    // At once, or the connection would come back.
    if (this.credit === null) this.setConnectionLimit(0);
    if (addon.handOff(this.group, fd, remaining, served)) {
      addon.closeDescriptor(fd);
      this.worker.cells[CLOSED] += 1;
    } else {
      // The primary has not read the earlier handoffs yet.
      setImmediate(() => this.adopt(...connection));
    }
  }

  /**
   * @param {number} fd
   * @param {number} remaining 0: a new connection; otherwise the remaining keep-alive timeout of a connection from
   * another worker, milliseconds
   * @param {number} served requests so far
   * @param {boolean} isPerRequest it returns to the primary after each response
   */
  adopt(fd, remaining, served, isPerRequest) {
    if (this.credit !== null) this.credit -= 1;
    // Without a primary Node drops excess connections, as without a cluster.
    if (remainingConnections(this.server) === 0 && !this.worker.orphaned) {
      this.handBack(fd, remaining, served, isPerRequest);
      return;
    }
    this.tally.opened++;
    const connection = runtime.openConnection(this.handle, fd);
    if (connection === null) {
      addon.closeDescriptor(fd);
      return;
    }
    // Closed by an earlier connection of the same batch.
    if (!runtime.acceptConnection(this.handle, connection)) return;
    if (!this.isLearned) this.isLearned = learn(this.server, connection);
    if (remaining > 0) resume(this.server, connection, remaining, served);
    if (isPerRequest) routePerRequest(connection);
  }
}

exports.ListenerShare = ListenerShare;
