// @ts-check
'use strict';

// A worker's share of a listener: connections come in as descriptors, from the slot's own listener or from
// the primary, and enter Node where its own come in, the server handle's `onconnection`. The handle is a real one
// over the shared listener that libuv never polls: drover accepts, so that nothing is lost at the limit of
// descriptors, and `address()`, `close()`, `ref()` stay Node's own.

const { closeAlike } = require('../http/graceful-close');
const { learn, resume, routePerRequest } = require('../http/handoff');
const { follow } = require('../http/shutdown-notice');
const { CLOSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');
const { roomOf } = require('./max-connections');
const { tallyOf } = require('./server-tally');

class ListenerShare {
  /**
   * @param {import('./worker').Worker} worker
   * @param {any} server
   * @param {{ group: number, fd: number }} listened
   * @param {() => void} closed called when it closes
   */
  constructor(worker, server, { group, fd }, closed) {
    this.worker = worker;
    this.group = group;
    this.server = server;
    this.tally = tallyOf(worker.cells, server);
    this.serveWith(server);
    /** Connections that the primary may still give, as far as it knows; null: any number. @type {number | null} */
    this.credit = null;
    /** It was opened when the worker was ready already: in the course of its work, or late in its start. */
    this.isLate = addon.workerIsReady();
    /** It has closed, and other workers serve there. */
    this.isServedByOthers = false;
    /** A batch of connections comes in. */
    this.isAdopting = false;
    /** Whether it keeps the process alive, as `server.ref()` and `server.unref()` say. */
    this.keepsAlive = true;
    /** How its connections look is learned from the first that is adopted. */
    this.isLearned = false;
    this.handle = runtime.openHandle(fd);
    runtime.hookHandle(this.handle, {
      ref: () => this.keepAlive(true),
      unref: () => this.keepAlive(false),
      hasRef: () => addon.workerKeepsAlive(group),
      close: () => {
        closed();
        worker.connections.close(this);
      },
    });
  }

  /** From now on the connections are this server's: a program may listen on the handle of another of its servers. @param {any} server */
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

  /** Begins to serve; the server has taken the handle, and may have let go of the loop before. */
  open(/** @type {boolean} */ isPlainHttp) {
    const room = roomOf(this.server);
    if (room !== null) this.setRoom(room);
    if (this.worker.connections.open(this, isPlainHttp) && !this.keepsAlive) this.keepAlive(false);
  }

  /** @param {number | null} room */
  setRoom(room) {
    this.credit = room;
    addon.workerRoom(this.group, room ?? -1);
  }

  /** Tells the primary how many connections the server takes, where it knows no better or counts on more. */
  updateRoom() {
    if (this.isAdopting || this.worker.connections.shares.get(this.group) !== this) return;
    const { credit } = this;
    const room = roomOf(this.server);
    if (room === null ? credit !== null : credit === null || room < credit || (credit <= 0 && room > 0)) this.setRoom(room);
  }

  /**
   * The server is full: another worker is to have the connection. It is not accepted here and closed there.
   *
   * @param {[fd: number, remaining: number, served: number, isPerRequest: boolean]} connection
   */
  handBack(...connection) {
    const [fd, remaining, served] = connection;
    // At once, or it would come again.
    if (this.credit === null) this.setRoom(0);
    if (addon.handOff(this.group, fd, remaining, served)) {
      addon.closeDescriptor(fd);
      this.worker.cells[CLOSED] += 1;
    } else {
      // The primary has not read yet what it was given before.
      setImmediate(() => this.adopt(...connection));
    }
  }

  /**
   * @param {number} fd
   * @param {number} remaining 0: it is new; else it comes from another worker and may be silent for so many milliseconds
   * @param {number} served requests that it has brought
   * @param {boolean} isPerRequest it goes back to the primary after each response
   */
  adopt(fd, remaining, served, isPerRequest) {
    if (this.credit !== null) this.credit -= 1;
    // Without a primary Node drops what is too much, as without a cluster.
    if (roomOf(this.server) === 0 && !this.worker.orphaned) {
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
