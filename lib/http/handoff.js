// @ts-check
'use strict';

// Handoff: an idle connection that only Node's own HTTP code has touched moves to another worker without being closed.
// This file decides whether it may move. Everything happens in one event-loop iteration, so that no byte is read in
// between: bytes that the client has sent stay in the socket buffer.

const http = require('node:http');
const https = require('node:https');
const { addon } = require('../native');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { fellSilent } = require('./connections');

const { perRequest, resuming, served } = symbols.socket;
const { pin } = symbols.shared;

/** Symbols on an untouched socket, drover's own and the runtime's, by their descriptions. */
const KNOWN_SYMBOLS = new Set([...Object.values(symbols.socket).map((symbol) => symbol.description), ...runtime.LATE_SYMBOLS]);

/** @typedef {{ keys: Set<string | symbol>, listeners: string }} Print keys and listeners of an untouched socket */

/** @type {WeakMap<object, Print | null>} by server; null: its connections never move */
const prints = new WeakMap();

/** Timers run before sockets are read: bytes that the client has already sent must be read first. Milliseconds. */
const MIN_REMAINING = 100;

/** Without a timeout: the maximum of a 31-bit number. Milliseconds. */
const UNLIMITED = 0x7fffffff;

/**
 * Whether any connection was handed off to this worker or is routed per request: until then requests skip the check.
 */
const arrivals = { any: false, perRequest: false };

/** Events and the names of their listeners. @param {any} socket */
function listenersOf(socket) {
  const events = socket.eventNames().flatMap((/** @type {string | symbol} */ name) => {
    const names = socket.listeners(name).map((/** @type {Function} */ listener) => listener.name);
    const others = names.filter((/** @type {string} */ own) => !runtime.LATE_LISTENERS.has(own));
    return others.length === 0 ? [] : [`${String(name)}:${others.join()}`];
  });
  return events.sort().join(';');
}

/**
 * Records the keys and listeners of an untouched connection of the server, from its first connection; false if that was
 * rejected (`blockList`, a listener that destroys it): then the next one is used.
 *
 * @param {any} server
 * @param {any} connection the handle that the server has just accepted
 */
function learn(server, connection) {
  if (prints.has(server)) return true;
  const plain = server instanceof http.Server && !(server instanceof https.Server);
  if (!plain || isWatched(server)) {
    prints.set(server, null);
    return true;
  }
  const socket = runtime.socketOf(connection);
  if (socket === undefined || socket.destroyed) return false;
  prints.set(server, { keys: new Set(Reflect.ownKeys(socket)), listeners: listenersOf(socket) });
  return true;
}

/** Whether the program gets each connection of the server. @param {any} server */
function isWatched(server) {
  return server.listenerCount('connection') !== runtime.CONNECTION_LISTENERS;
}

/** Whether only Node's own code has touched the socket. @param {any} server @param {any} socket */
function isUntouched(server, socket) {
  const print = prints.get(server);
  if (!print || socket[pin] || isWatched(server)) return false;
  const isKnown = (/** @type {string | symbol} */ key) =>
    print.keys.has(key) || (typeof key === 'symbol' ? KNOWN_SYMBOLS.has(key.description) : runtime.LATE_KEYS.has(key));
  return Reflect.ownKeys(socket).every(isKnown) && listenersOf(socket) === print.listeners;
}

/** Between two requests: everything read is answered, everything written is sent. */
function isIdle(/** @type {any} */ socket, /** @type {any} */ parser) {
  return !runtime.responseOf(socket) && runtime.parserOf(socket) === parser && runtime.isAtRest(socket);
}

/** The remaining keep-alive timeout of the connection, milliseconds. */
function remainingTimeout(/** @type {any} */ server, /** @type {any} */ socket, /** @type {number} */ now) {
  const whole = socket.timeout || server.keepAliveTimeout || 0;
  if (whole === 0) return UNLIMITED;
  return Math.max(1, whole - runtime.timeoutElapsed(socket, now));
}

/**
 * Hands one connection off; false if it may not be moved, or not now.
 *
 * @param {any} server
 * @param {number} group
 * @param {any} socket
 * @param {number} [now]
 */
function handOff(server, group, socket, now = runtime.timerNow()) {
  const isNew = socket.bytesRead === 0 && !socket[resuming];
  const remaining = isNew ? 0 : remainingTimeout(server, socket, now);
  if (!addon.handOff(group, runtime.descriptorOf(socket), remaining, socket[served] ?? 0)) return false;
  // No shutdown: the connection stays open through the other descriptor.
  socket.destroy();
  return true;
}

/**
 * Hands off idle connections, at most `max`; returns how many.
 *
 * @param {any} server
 * @param {number} group
 * @param {number} [max]
 */
function handOffIdle(server, group, max = Infinity) {
  if (!prints.get(server)) return 0;
  const now = runtime.timerNow();
  let count = 0;
  for (const [socket, parser] of candidates(server)) {
    if (count >= max) break;
    if (isIdle(socket, parser) && isUntouched(server, socket) && handOff(server, group, socket, now)) count += 1;
  }
  return count;
}

/**
 * Hands this connection off if it is idle; returns whether it did.
 *
 * @param {any} server
 * @param {number} group
 * @param {any} socket
 */
function handOffOne(server, group, socket) {
  const parser = runtime.parserOf(socket);
  if (!isIdle(socket, parser) || !isUntouched(server, socket)) return false;
  // Only Node's connection list knows whether a request has begun; it is read last, because it may be long.
  return runtime.connectionsOf(server)?.idle().includes(parser) === true && handOff(server, group, socket);
}

/** @param {any} server @returns {[any, any][]} sockets that may be idle, with their parsers */
function candidates(server) {
  const list = runtime.connectionsOf(server);
  if (list === undefined) return [];
  const idle = new Set(list.idle());
  const mayBe = (/** @type {any} */ parser) => parser.socket && (idle.has(parser) || parser.socket.bytesRead === 0);
  return list.all().filter(mayBe).map((/** @type {any} */ parser) => [parser.socket, parser]);
}

/**
 * Adopts a connection that was handed off to this worker: its remaining keep-alive timeout applies, and waiting for a
 * request does not count as a slow request.
 *
 * @param {any} server
 * @param {any} connection
 * @param {number} remaining milliseconds
 * @param {number} count requests so far
 */
function resume(server, connection, remaining, count) {
  const socket = runtime.socketOf(connection);
  // Closed by a listener, or a server of another type.
  if (!socket || !runtime.parserOf(socket) || socket.destroyed) return;
  arrivals.any = true;
  runtime.excuseLate(server, isResuming);
  socket[resuming] = true;
  fellSilent(socket, performance.now());
  if (server.maxRequestsPerSocket > 0) socket[served] = count;
  if (remaining < UNLIMITED) socket.setTimeout(Math.max(remaining, MIN_REMAINING));
}

/** Marks a proxy's connection, each request of which may belong to another worker. @param {any} connection */
function routePerRequest(connection) {
  const socket = runtime.socketOf(connection);
  if (!socket) return;
  arrivals.perRequest = true;
  socket[perRequest] = true;
}

/** @param {any} socket */
function isRoutedPerRequest(socket) {
  return socket[perRequest] === true;
}

/** The first request after a handoff has arrived: the connection is an ordinary one now. @param {any} socket */
function endResume(socket) {
  if (!socket[resuming]) return;
  socket[resuming] = false;
  socket.setTimeout(socket.server.timeout || 0);
}

/** Whether the connection was handed off to this worker and has sent nothing here yet. @param {any} socket */
function isResuming(socket) {
  return socket[resuming] === true && socket.bytesRead === 0;
}

/**
 * Counts a request if the server limits them (`maxRequestsPerSocket`). True if it is the last one of a connection that
 * was handed off to this worker: for other connections Node counts itself, and rejects requests after the last.
 *
 * @param {any} socket
 * @param {number} max
 */
function countRequest(socket, max) {
  socket[served] = (socket[served] ?? 0) + 1;
  return socket[resuming] !== undefined && socket[served] >= max;
}

module.exports = {
  arrivals,
  countRequest,
  endResume,
  handOffIdle,
  handOffOne,
  isResuming,
  isRoutedPerRequest,
  isUntouched,
  learn,
  resume,
  routePerRequest,
};
