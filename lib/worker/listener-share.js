// @ts-check
'use strict';

// The door of a server in a worker: connections come in as descriptors, from the slot's own listener or from
// the primary, and enter Node by its own door, the server handle's `onconnection`. The handle is a real one
// over the shared listener that libuv never polls: drover accepts, so that nothing is lost at the limit of
// descriptors, and `address()`, `close()`, `ref()` stay Node's own.

const net = require('node:net');
const { roomOf } = require('./max-connections');
const { CLOSED } = require('../metrics/cells');
const { departToo } = require('../http/graceful-close');
const { follow } = require('../http/shutdown-notice');
const { borrow, learn, settle } = require('../http/handoff');
const { addon } = require('../native');

/** Constant of Node's TCP and Pipe wraps: a connection, not a server. */
const SOCKET = 0;

/** The connections of one server, over all the times that it listens. */
class Tally {
  /** @param {import('./worker').Worker} worker @param {any} server */
  constructor(worker, server) {
    this.worker = worker;
    this.server = server;
    /** Connections that came in. */
    this.opened = 0;
    /** Of those, the ones counted as over. */
    this.closed = 0;
    /** The door that they come by now. @type {Door | null} */
    this.door = null;
    const drained = server._emitCloseIfDrained;
    const tally = this;
    // Node calls this for each connection that ends, of a server that closes or not.
    server._emitCloseIfDrained = function emitCloseIfDrained() {
      tally.account();
      if (tally.door !== null && tally.door.credit !== null) tally.door.tellRoom();
      return drained.call(this);
    };
  }

  /** Brings the shared count of ended connections up to date: opened and no longer in the server. */
  account() {
    const closed = this.opened - this.server._connections;
    if (closed !== this.closed) {
      this.worker.cells[CLOSED] += closed - this.closed;
      this.closed = closed;
    }
  }
}

/** @type {WeakMap<object, Tally>} */
const tallies = new WeakMap();

/** @param {import('./worker').Worker} worker @param {any} server */
function tallyOf(worker, server) {
  const tally = tallies.get(server) ?? new Tally(worker, server);
  tallies.set(server, tally);
  return tally;
}

class Door {
  /**
   * @param {import('./worker').Worker} worker
   * @param {any} server
   * @param {{ group: number, fd: number }} share
   * @param {() => void} closed called when it closes
   */
  constructor(worker, server, { group, fd }, closed) {
    this.closed = closed;
    this.worker = worker;
    this.server = server;
    this.group = group;
    this.tally = tallyOf(worker, server);
    this.enter(server);
    /** Connections that the primary may still give, as far as it knows; null: any number. @type {number | null} */
    this.credit = null;
    /** It has closed, and other workers serve there. */
    this.isServedByOthers = false;
    /** A batch of connections comes in. */
    this.isTaking = false;
    /** Whether it keeps the process alive, as `server.ref()` and `server.unref()` say. */
    this.holds = true;
    // The undocumented but long-lived way to a handle over a descriptor, whatever its kind.
    this.handle = /** @type {any} */ (net)._createServerHandle(null, null, null, fd);
    this.Connection = this.handle.constructor;
    /** How its connections look is learned from the first that is taken. */
    this.isKnown = false;
    this.dress();
  }

  /** From now on the connections are this server's: a program may listen on the handle of another of its servers. @param {any} server */
  enter(server) {
    this.server = server;
    this.tally.door = null;
    this.tally = tallyOf(this.worker, server);
    this.tally.door = this;
    follow(server);
    departToo(this.worker, server);
  }

  /** Gives the handle the few methods that mean something else here. */
  dress() {
    const { handle, group, worker } = this;
    const prototype = Object.getPrototypeOf(handle);
    handle.listen = () => 0;
    // The primary has done it: the file may be its alone to change.
    handle.fchmod = () => 0;
    handle.ref = () => this.hold(true);
    handle.unref = () => this.hold(false);
    handle.hasRef = () => addon.workerKeepsAlive(group);
    handle.close = (/** @type {() => void} */ callback) => {
      this.closed();
      worker.close(this);
      return prototype.close.call(handle, callback);
    };
  }

  /** @param {boolean} holds */
  hold(holds) {
    this.holds = holds;
    addon.workerKeepAlive(this.group, holds);
  }

  /** Begins to serve; the server has taken the handle, and may have let go of the loop before. */
  open(/** @type {boolean} */ plainHttp) {
    const room = roomOf(this.server);
    if (room !== null) this.tell(room);
    this.worker.serve(this, plainHttp);
    if (!this.holds) this.hold(false);
  }

  /** @param {number | null} room */
  tell(room) {
    this.credit = room;
    addon.workerRoom(this.group, room ?? -1);
  }

  /** Tells the primary how many connections the server takes, where it knows no better or counts on more. */
  tellRoom() {
    if (this.isTaking || this.worker.doors.get(this.group) !== this) return;
    const { credit } = this;
    const room = roomOf(this.server);
    if (room === null ? credit !== null : credit === null || room < credit || (credit <= 0 && room > 0)) this.tell(room);
  }

  /**
   * The server is full: another worker is to have the connection. It is not accepted here and closed there.
   *
   * @param {[fd: number, quiet: number, served: number, isLent: boolean]} taken
   */
  giveBack(...taken) {
    const [fd, quiet, served] = taken;
    // At once, or it would come again.
    if (this.credit === null) this.tell(0);
    if (addon.giveAway(this.group, fd, quiet, served)) {
      addon.closeDescriptor(fd);
      this.worker.cells[CLOSED] += 1;
    } else {
      // The primary has not read yet what it was given before.
      setImmediate(() => this.adopt(...taken));
    }
  }

  /**
   * @param {number} fd
   * @param {number} quiet 0: it is new; else it comes from another worker and may be silent for so many milliseconds
   * @param {number} served requests that it has brought
   * @param {boolean} isLent it goes back to the primary after each response
   */
  adopt(fd, quiet, served, isLent) {
    if (this.credit !== null) this.credit -= 1;
    // Without a primary Node drops what is too much, as without a cluster.
    if (roomOf(this.server) === 0 && !this.worker.orphaned) {
      this.giveBack(fd, quiet, served, isLent);
      return;
    }
    const connection = new this.Connection(SOCKET);
    this.tally.opened++;
    if (connection.open(fd) !== 0) {
      addon.closeDescriptor(fd);
      return;
    }
    const { handle } = this;
    // Closed by an earlier connection of the same batch.
    if (handle.onconnection === null) {
      connection.close();
      return;
    }
    handle.onconnection(0, connection);
    if (!this.isKnown) this.isKnown = learn(this.server, connection);
    if (quiet > 0) settle(this.server, connection, quiet, served);
    if (isLent) borrow(connection);
  }

  account() {
    this.tally.account();
  }
}

exports.CLOSED = CLOSED;
exports.Door = Door;
