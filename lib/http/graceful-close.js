// @ts-check
'use strict';

// Closes an HTTP server of a worker while other workers keep serving. Idle connections are handed off to other workers,
// busy ones when their response is done. Connections that cannot be handed off (TLS, sockets that the program has
// touched, `handoff: false`, a cluster that stops) get `Connection: close` with their next response; if there is none
// they end after a grace period, because the client may already have sent a request.

const http = require('node:http');
const https = require('node:https');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { fellSilent, hasAsked, isAnswering, silentSince } = require('./connections');
const { handOffIdle, isResuming, isUntouched } = require('./handoff');

const { gracefulClose } = symbols.server;

/** Interval at which connections that have become idle are handed off, milliseconds. */
const LOOK_INTERVAL = 50;
/**
 * A connection that cannot be handed off may send another request for this long after its last response, milliseconds.
 */
const LINGER_TIMEOUT = 2000;
/**
 * A connection that could be handed off but is not accepted is closed like the others after this long, milliseconds.
 */
const HANDOFF_TIMEOUT = 10_000;
/** A connection without any request so far may send its first one for this long, milliseconds. */
const FIRST_REQUEST_TIMEOUT = 1000;
/**
 * When the whole cluster stops, a connection may send another request for this long after its last response,
 * milliseconds.
 */
const LAST_LINGER_TIMEOUT = 1000;

class GracefulClose {
  /**
   * @param {import('../worker/worker').Worker} worker
   * @param {any} server
   * @param {number | null} group null: the worker's own socket, whose connections no other worker can take
   */
  constructor(worker, server, group) {
    this.worker = worker;
    this.server = server;
    this.group = group;
    this.since = performance.now();
    /** The program has closed the last server of the address, and the worker keeps running. */
    this.isPrograms = false;
    // The open connections keep the process alive, not this timer.
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL).unref();
    this.end = this.end.bind(this);
    server.once('close', this.end);
    server[gracefulClose] = this;
    worker.connections.closing.add(server);
  }

  /** All connections have ended, or the server listens again. */
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

  /** No other worker serves the address: its connections stay in this worker. */
  stay() {
    this.group = null;
    if (this.worker.drain.begun) this.announceLast();
    else this.isPrograms = true;
  }

  /** Whether the connection may stay open after its next response. @param {any} socket */
  moves(socket) {
    // The program has closed the last server: what its clients get is Node's.
    if (this.isPrograms && !this.worker.drain.begun) return true;
    if (!this.canMove) return false;
    const { virtualListeners } = this.worker;
    return virtualListeners === null ? isUntouched(this.server, socket) : virtualListeners.moves(this.server, socket);
  }

  look() {
    if (this.group !== null && this.canMove && this.worker.virtualListeners === null) handOffIdle(this.server, this.group);
    const list = runtime.connectionsOf(this.server);
    if (list === undefined) return;
    const now = performance.now();
    const idle = new Set(list.idle());
    for (const parser of list.all()) {
      const { socket } = parser;
      if (!socket || (!idle.has(parser) && socket.bytesRead > 0)) continue;
      // A finished response may still be in transit to a slow reader.
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
   * When an idle connection is closed. In a cluster that stops, the time before the stop counts, because the whole stop
   * waits for the connection.
   *
   * @param {any} socket
   */
  silenceLimit(socket) {
    if (!hasAsked(socket)) return this.since + FIRST_REQUEST_TIMEOUT;
    const since = silentSince(socket);
    return this.worker.drain.handoff ? Math.max(since, this.since) + LINGER_TIMEOUT : since + LAST_LINGER_TIMEOUT;
  }

  /** Responses in progress whose headers are not sent yet become the last of their connection. */
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

/**
 * Makes HTTP servers of this worker close gracefully; everything else remains Node's own.
 * @param {import('../worker/worker').Worker} worker
 */
function closeHttpGracefully(worker) {
  for (const { prototype } of [http.Server, https.Server]) if (Object.hasOwn(prototype, 'close')) hook(worker, prototype);
}

/**
 * An HTTP/2 server may serve HTTP/1.1 too (`allowHTTP1`). Its class is only available from an instance.
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
 * The server of a draining worker accepts no new connections, and hands off or ends its own. It is closed by the
 * program or at the end of the drain.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {any} server
 */
function stopServer(worker, server) {
  const share = worker.connections.shareOf(server);
  if (share === undefined) runtime.stopAccepting(server);
  else worker.connections.close(share);
  if (share !== undefined) worker.virtualListeners?.stopped(share);
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
    // The program closes the last server of an address: its clients are closed as in Node.
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
 * A connection without a request so far is not idle: its request may be in transit or not read yet, and from Node.js 26
 * on `closeIdleConnections` would reset it.
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

module.exports = { FIRST_REQUEST_TIMEOUT, HANDOFF_TIMEOUT, LAST_LINGER_TIMEOUT, LINGER_TIMEOUT, closeAlike, closeHttpGracefully, gracefulCloseOf, stopServer };
