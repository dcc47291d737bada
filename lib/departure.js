// @ts-check
'use strict';

// An HTTP server of a worker that closes while others serve on. Its idle connections go to the others, busy ones
// when their response is done, and neither hears of it. What cannot move (https, sockets that the program has
// touched, `handoff: false`) is told with its next response, and ends when it has had time to ask for one.

const http = require('node:http');
const https = require('node:https');
const { hasAsked, listOf } = require('./connections');
const { giveIdle, isUntouched, settlersOf } = require('./handoff');

/** Between two looks for connections that have become idle, milliseconds. */
const LOOK_EVERY = 50;
/** A connection that cannot move and is idle has so long to ask once more, milliseconds. */
const LINGER = 2000;
/** One that could move but is not taken goes the ordinary way after so long, milliseconds. */
const GIVE_UP = 10_000;
/** One that has never asked has so long to begin, milliseconds. */
const SILENCE = 1000;

const departure = Symbol('drover.departure');

class Departure {
  /**
   * @param {import('./worker').Worker} worker
   * @param {any} server
   * @param {number} group
   */
  constructor(worker, server, group) {
    this.worker = worker;
    this.server = server;
    this.group = group;
    this.since = performance.now();
    this.timer = setInterval(() => this.look(), LOOK_EVERY);
    this.end = this.end.bind(this);
    server.once('close', this.end);
    server[departure] = this;
    worker.departing += 1;
  }

  /** Everybody is gone, or the server listens again. */
  end() {
    if (this.server[departure] !== this) return;
    clearInterval(this.timer);
    this.server.removeListener('close', this.end);
    this.server[departure] = undefined;
    this.worker.departing -= 1;
  }

  get canMove() {
    return this.worker.canHandOver();
  }

  /** Whether its connection goes to another worker once it is idle. @param {any} socket */
  moves(socket) {
    return this.canMove && isUntouched(this.server, socket);
  }

  look() {
    if (this.canMove) giveIdle(this.server, this.group);
    const list = listOf(this.server);
    if (!list) return;
    const age = performance.now() - this.since;
    const unmoved = (/** @type {any} */ socket) => socket && (age >= GIVE_UP || !this.moves(socket));
    for (const { socket } of list.idle()) {
      // A response that is done may still be on its way to a slow reader.
      if (!unmoved(socket) || socket._httpMessage) continue;
      if (age >= (hasAsked(socket) ? this.linger() : SILENCE)) socket.destroy();
    }
    for (const { socket } of list.all()) {
      if (socket?.bytesRead === 0 && unmoved(socket) && age >= SILENCE) socket.destroy();
    }
    if (!this.canMove) settlersOf(this.server).forEach((socket) => socket.bytesRead === 0 && socket.destroy());
  }

  /** When the whole cluster stops there is nobody to ask once more. */
  linger() {
    return this.canMove ? LINGER : 0;
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

/** A closing server's idle connections leave by `Departure`; Node's own ways stay for all else. @param {import('./worker').Worker} worker */
function departInOrder(worker) {
  for (const { prototype } of [http.Server, https.Server]) {
    const { close, closeIdleConnections } = prototype;

    prototype.close = function (/** @type {any} */ ...args) {
      const door = worker.doorOf(this);
      if (door !== undefined && this.listening) {
        const leaving = new Departure(worker, this, door.group);
        leaving.tellLast();
        setImmediate(() => leaving.look());
      }
      return close.apply(this, args);
    };

    prototype.closeIdleConnections = function () {
      // Node calls this within `close`.
      const leaving = departureOf(this);
      if (leaving !== undefined) return;
      closeIdle(this, () => closeIdleConnections.call(this));
    };
  }
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
  settlersOf(server).forEach((socket) => socket.bytesRead === 0 && socket.destroy());
}

module.exports = { departInOrder, departureOf };
