// @ts-check
'use strict';

// An HTTP server of a worker that closes while others serve on. Its idle connections go to the others, busy ones
// when their response is done, and neither hears of it. What cannot move (TLS, sockets that the program has
// touched, `handoff: false`, a cluster that stops) is closed with its next response, and ends when it has had time to
// ask for one: a client that could not know yet may be asking.

const http = require('node:http');
const https = require('node:https');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { fellSilent, hasAsked, isAnswering, silentSince } = require('./connections');
const { handOffIdle, isResuming, isUntouched } = require('./handoff');

const { gracefulClose } = symbols.server;

/** Between two looks for connections that have become idle, milliseconds. */
const LOOK_INTERVAL = 50;
/** A connection that cannot move has so long after its last response to ask once more, milliseconds. */
const LINGER_TIMEOUT = 2000;
/** One that could move but is not taken goes the ordinary way after so long, milliseconds. */
const HANDOFF_TIMEOUT = 10_000;
/** One that has never asked has so long to begin, milliseconds. */
const FIRST_REQUEST_TIMEOUT = 1000;
/** Where the whole cluster stops, a connection has so long after its last response, milliseconds. */
const LAST_LINGER_TIMEOUT = 1000;

class GracefulClose {
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
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL).unref();
    this.end = this.end.bind(this);
    server.once('close', this.end);
    server[gracefulClose] = this;
    worker.connections.closing.add(server);
  }

  /** Everybody is gone, or the server listens again. */
  end() {
    if (this.server[gracefulClose] !== this) return;
    clearInterval(this.timer);
    this.server.removeListener('close', this.end);
    this.server[gracefulClose] = undefined;
    this.worker.connections.closing.delete(this.server);
  }

  get canMove() {
    return this.group !== null && this.worker.connections.canHandOff();
  }

  /** Nobody else serves there: its connections are answered here. */
  stay() {
    this.group = null;
    if (this.worker.drain.begun) this.announceLast();
    else this.isPrograms = true;
  }

  /** Whether the next response of its connection need not be the last. @param {any} socket */
  moves(socket) {
    // The program has closed the last server: what its clients get is Node's.
    if (this.isPrograms && !this.worker.drain.begun) return true;
    return this.canMove && isUntouched(this.server, socket);
  }

  look() {
    if (this.group !== null && this.canMove) handOffIdle(this.server, this.group);
    const list = runtime.connectionsOf(this.server);
    if (list === undefined) return;
    const now = performance.now();
    const idle = new Set(list.idle());
    for (const parser of list.all()) {
      const { socket } = parser;
      if (!socket || (!idle.has(parser) && socket.bytesRead > 0)) continue;
      // A response that is done may still be on its way to a slow reader.
      if (!runtime.responseOf(socket)) this.expire(socket, now);
      else if (!isAnswering(socket)) fellSilent(socket, now);
    }
  }

  /** @param {any} socket an idle one @param {number} now */
  expire(socket, now) {
    const isLeft = now >= this.since + HANDOFF_TIMEOUT || !this.moves(socket);
    if (isLeft && now >= this.silenceLimit(socket)) socket.destroy();
  }

  /**
   * Until when an idle connection may be silent. In a cluster that stops, one that was silent before has had its
   * time: everybody waits for it.
   *
   * @param {any} socket
   */
  silenceLimit(socket) {
    if (!hasAsked(socket)) return this.since + FIRST_REQUEST_TIMEOUT;
    const since = silentSince(socket);
    return this.worker.drain.handoff ? Math.max(since, this.since) + LINGER_TIMEOUT : since + LAST_LINGER_TIMEOUT;
  }

  /** Responses under way whose headers are not out yet become the last of their connection. */
  announceLast() {
    for (const { socket } of runtime.connectionsOf(this.server)?.active() ?? []) {
      const response = socket ? runtime.responseOf(socket) : null;
      if (response && !response.headersSent && !this.moves(socket)) response.shouldKeepAlive = false;
    }
  }
}

/** @param {any} server @returns {GracefulClose | undefined} */
function gracefulCloseOf(server) {
  return server?.[gracefulClose];
}

/** Classes of servers that close gracefully. @type {WeakSet<object>} */
const hooked = new WeakSet();

/** HTTP servers of this worker close gracefully from now on; Node's own ways stay for all else. @param {import('../worker/worker').Worker} worker */
function closeHttpGracefully(worker) {
  for (const { prototype } of [http.Server, https.Server]) hook(worker, prototype);
}

/**
 * An HTTP/2 server may serve HTTP/1.1 too (`allowHTTP1`). Its class is known once there is one.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {any} server
 */
function closeAlike(worker, server) {
  if (!runtime.isHttp2Server(server)) return;
  const prototype = Object.getPrototypeOf(server);
  if (typeof prototype.closeIdleConnections === 'function' && !hooked.has(prototype)) hook(worker, prototype);
}

/** @param {import('../worker/worker').Worker} worker @param {any} server @param {number | null} group */
function begin(worker, server, group) {
  const closing = new GracefulClose(worker, server, group);
  closing.announceLast();
  setImmediate(() => closing.look());
}

/**
 * The server of a worker that drains takes nothing new, and its connections leave. It is not closed: that is for the
 * program to do, or for the end of the drain.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {any} server
 */
function stopServer(worker, server) {
  const share = worker.connections.shareOf(server);
  if (share === undefined) runtime.stopAccepting(server);
  else worker.connections.close(share);
  if (runtime.connectionsOf(server)) begin(worker, server, share?.group ?? null);
}

/** @param {import('../worker/worker').Worker} worker @param {any} prototype */
function hook(worker, prototype) {
  const { close, closeIdleConnections } = prototype;
  hooked.add(prototype);

  prototype.close = function (/** @type {any} */ ...args) {
    const share = worker.connections.shareOf(this);
    if (share !== undefined && this.listening) begin(worker, this, share.group);
    const closed = close.apply(this, args);
    if (share !== undefined && !share.isServedByOthers) gracefulCloseOf(this)?.stay();
    // The program closes what nobody serves any more: its clients are closed as by Node.
    if (share !== undefined && !share.isServedByOthers && !worker.drain.begun) {
      closeIdle(this, () => closeIdleConnections?.call(this));
    }
    return closed;
  };

  prototype.closeIdleConnections = function () {
    // Node calls this within `close`.
    if (gracefulCloseOf(this) !== undefined) return;
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
  const list = runtime.connectionsOf(server);
  if (list === undefined) return otherwise();
  for (const { socket } of list.idle()) {
    if (socket && !runtime.responseOf(socket) && hasAsked(socket)) socket.destroy();
  }
  for (const { socket } of list.all()) if (socket && isResuming(socket)) socket.destroy();
}

module.exports = { closeAlike, closeHttpGracefully, gracefulCloseOf, stopServer };
