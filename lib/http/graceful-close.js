// @ts-check
'use strict';

// An HTTP server of a worker that closes while others serve on. Its idle connections go to the others, busy ones
// when their response is done, and neither hears of it. What cannot move (TLS, sockets that the program has
// touched, `handoff: false`, a cluster that stops) is told with its next response, and ends when it has had time to
// ask for one: a client that could not know yet may be asking.

const http = require('node:http');
const https = require('node:https');
const { fellSilent, hasAsked, isAnswering, listOf, silentSince } = require('./connections');
const { isHttp2 } = require('./shutdown-notice');
const { giveIdle, isSettling, isUntouched } = require('./handoff');

/** Between two looks for connections that have become idle, milliseconds. */
const LOOK_EVERY = 50;
/** A connection that cannot move has so long after its last response to ask once more, milliseconds. */
const LINGER = 2000;
/** One that could move but is not taken goes the ordinary way after so long, milliseconds. */
const GIVE_UP = 10_000;
/** One that has never asked has so long to begin, milliseconds. */
const SILENCE = 1000;
/** Where the whole cluster stops, a connection has so long after its last response, milliseconds. */
const LAST_LINGER = 1000;

const departure = Symbol('drover.departure');

class Departure {
  /**
   * @param {import('../worker/worker').Worker} worker
   * @param {any} server
   * @param {number | null} group null: it listens by itself, and no other worker can have its connections
   */
  constructor(worker, server, group) {
    this.worker = worker;
    this.server = server;
    this.group = group;
    this.since = performance.now();
    /** The program closed the last server there, and the worker stays. */
    this.isPrograms = false;
    // The connections that are looked at keep the process alive.
    this.timer = setInterval(() => this.look(), LOOK_EVERY).unref();
    this.end = this.end.bind(this);
    server.once('close', this.end);
    server[departure] = this;
    worker.departing += 1;
    worker.closing.add(server);
  }

  /** Everybody is gone, or the server listens again. */
  end() {
    if (this.server[departure] !== this) return;
    clearInterval(this.timer);
    this.server.removeListener('close', this.end);
    this.server[departure] = undefined;
    this.worker.departing -= 1;
    this.worker.closing.delete(this.server);
  }

  get canMove() {
    return this.group !== null && this.worker.canHandOver();
  }

  /** Nobody else serves there: its connections are answered here. */
  stay() {
    this.group = null;
    if (this.worker.drain.begun) this.tellLast();
    else this.isPrograms = true;
  }

  /** Whether its connection need not be told that its next response is the last. @param {any} socket */
  moves(socket) {
    // The program has closed the last server: what its clients are told is Node's.
    if (this.isPrograms && !this.worker.drain.begun) return true;
    return this.canMove && isUntouched(this.server, socket);
  }

  look() {
    if (this.group !== null && this.canMove) giveIdle(this.server, this.group);
    const list = listOf(this.server);
    if (!list) return;
    const now = performance.now();
    const idle = new Set(list.idle());
    for (const parser of list.all()) {
      const { socket } = parser;
      if (!socket || (!idle.has(parser) && socket.bytesRead > 0)) continue;
      // A response that is done may still be on its way to a slow reader.
      if (!socket._httpMessage) this.expire(socket, now);
      else if (!isAnswering(socket)) fellSilent(socket, now);
    }
  }

  /** @param {any} socket an idle one @param {number} now */
  expire(socket, now) {
    const isLeft = now >= this.since + GIVE_UP || !this.moves(socket);
    if (isLeft && now >= this.patience(socket)) socket.destroy();
  }

  /**
   * Until when an idle connection may be silent. In a cluster that stops, one that was silent before has had its
   * time: everybody waits for it.
   *
   * @param {any} socket
   */
  patience(socket) {
    if (!hasAsked(socket)) return this.since + SILENCE;
    const since = silentSince(socket);
    return this.worker.drain.handoff ? Math.max(since, this.since) + LINGER : since + LAST_LINGER;
  }

  /** Responses under way whose headers are not out yet tell their client that they are the last. */
  tellLast() {
    for (const { socket } of listOf(this.server)?.active() ?? []) {
      const response = socket?._httpMessage;
      if (response && !response.headersSent && !this.moves(socket)) response.shouldKeepAlive = false;
    }
  }
}

/** @param {any} server @returns {Departure | undefined} */
function departureOf(server) {
  return server?.[departure];
}

/** Classes of servers whose connections leave by `Departure`. @type {WeakSet<object>} */
const orderly = new WeakSet();

/** A closing server's idle connections leave by `Departure`; Node's own ways stay for all else. @param {import('../worker/worker').Worker} worker */
function departInOrder(worker) {
  for (const { prototype } of [http.Server, https.Server]) patch(worker, prototype);
}

/**
 * An HTTP/2 server may serve HTTP/1.1 too (`allowHTTP1`). Its class is known once there is one.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {any} server
 */
function departToo(worker, server) {
  if (!isHttp2(server)) return;
  const prototype = Object.getPrototypeOf(server);
  if (typeof prototype.closeIdleConnections === 'function' && !orderly.has(prototype)) patch(worker, prototype);
}

/** @param {import('../worker/worker').Worker} worker @param {any} server @param {number | null} group */
function depart(worker, server, group) {
  const leaving = new Departure(worker, server, group);
  leaving.tellLast();
  setImmediate(() => leaving.look());
}

/**
 * The server of a worker that drains takes nothing new, and its connections leave. It is not closed: that is for the
 * program to do, or for the end of the drain.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {any} server
 */
function leaveInOrder(worker, server) {
  const door = worker.doorOf(server);
  if (door === undefined) stopAccepting(server);
  else worker.close(door);
  if (listOf(server)) depart(worker, server, door?.group ?? null);
}

/**
 * A server on a socket of its own takes nothing new. For its program it still listens: libuv's handle can only be
 * closed, so that something stands in its place.
 *
 * @param {any} server
 */
function stopAccepting(server) {
  const handle = server._handle;
  if (!handle) return;
  const place = {};
  const isKnown = handle.getsockname?.(place) === 0;
  handle.close();
  server._handle = {
    getsockname: isKnown ? (/** @type {any} */ out) => (Object.assign(out, place), 0) : undefined,
    close: (/** @type {(() => void) | undefined} */ callback) => void (callback && process.nextTick(callback)),
    ref() {},
    unref() {},
  };
}

/** @param {import('../worker/worker').Worker} worker @param {any} prototype */
function patch(worker, prototype) {
  const { close, closeIdleConnections } = prototype;
  orderly.add(prototype);

  prototype.close = function (/** @type {any} */ ...args) {
    const door = worker.doorOf(this);
    if (door !== undefined && this.listening) depart(worker, this, door.group);
    const closed = close.apply(this, args);
    if (door !== undefined && !door.isServedByOthers) departureOf(this)?.stay();
    // The program closes what nobody serves any more: its clients are told as by Node.
    if (door !== undefined && !door.isServedByOthers && !worker.drain.begun) {
      closeIdle(this, () => closeIdleConnections?.call(this));
    }
    return closed;
  };

  prototype.closeIdleConnections = function () {
    // Node calls this within `close`.
    const leaving = departureOf(this);
    if (leaving !== undefined) return;
    closeIdle(this, () => closeIdleConnections.call(this));
  };
}

/**
 * A connection that has not asked yet is not idle: its request is on the way, or was not read yet, and from
 * Node.js 26 on `closeIdleConnections` would reset it.
 *
 * @param {any} server
 * @param {() => void} otherwise
 */
function closeIdle(server, otherwise) {
  const list = listOf(server);
  if (!list) return otherwise();
  for (const { socket } of list.idle()) {
    if (socket && !socket._httpMessage && hasAsked(socket)) socket.destroy();
  }
  for (const { socket } of list.all()) if (socket && isSettling(socket)) socket.destroy();
}

module.exports = { departInOrder, departToo, departureOf, leaveInOrder };
