// @ts-check
'use strict';

// Handing connections over: an idle one that only Node's own HTTP code has touched goes to another worker
// without its client noticing. Whether it may is decided here, and everything happens in one turn of the loop,
// so that no byte is read in between: what the client has sent lies in the socket and goes along.

const http = require('node:http');
const https = require('node:https');
const { addon } = require('../native');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { fellSilent } = require('./connections');

const { perRequest, resuming, served } = symbols.socket;
const { pin } = symbols.shared;

/** drover's own symbols on sockets, by their descriptions. */
const OWN_SYMBOLS = new Set(Object.values(symbols.socket).map((symbol) => symbol.description));

/** @typedef {{ keys: Set<string | symbol>, listeners: string }} Print how a socket looks that nobody has touched */

/** @type {WeakMap<object, Print | null>} by server; null: its connections never move */
const prints = new WeakMap();

/** Timers run before sockets are read: what a client has sent by now must be read first. Milliseconds. */
const MIN_REMAINING = 100;

/** Without a limit: as long as a number of 31 bits can say. Milliseconds. */
const UNLIMITED = 0x7fffffff;

/** Whether any connection ever came from another worker, or is routed by its requests: until then a request need not look. */
const arrivals = { any: false, perRequest: false };

/** Events and the names of their listeners. @param {any} socket */
function listenersOf(socket) {
  const events = socket.eventNames().map((/** @type {string | symbol} */ name) => {
    const names = socket.listeners(name).map((/** @type {Function} */ listener) => listener.name);
    return `${String(name)}:${names.filter((/** @type {string} */ own) => own !== runtime.RESPONSE_LISTENER).join()}`;
  });
  return events.sort().join(';');
}

/**
 * Learns how an untouched connection of the server looks, from its first one; false when that was turned away
 * (`blockList`, a listener that destroys it), and the next is to be looked at.
 *
 * @param {any} server
 * @param {any} connection the handle that the server has just taken
 */
function learn(server, connection) {
  if (prints.has(server)) return true;
  const plain = server instanceof http.Server && !(server instanceof https.Server);
  if (!plain || server.listenerCount('connection') !== 1) {
    prints.set(server, null);
    return true;
  }
  const socket = runtime.socketOf(connection);
  if (socket === undefined || socket.destroyed) return false;
  prints.set(server, { keys: new Set(Reflect.ownKeys(socket)), listeners: listenersOf(socket) });
  return true;
}

/** Only Node's own code has had to do with it. @param {any} server @param {any} socket */
function isUntouched(server, socket) {
  const print = prints.get(server);
  if (!print || socket[pin] || server.listenerCount('connection') !== 1) return false;
  const isKnown = (/** @type {string | symbol} */ key) =>
    print.keys.has(key) || (typeof key === 'symbol' ? OWN_SYMBOLS.has(key.description) : runtime.LATE_KEYS.has(key));
  return Reflect.ownKeys(socket).every(isKnown) && listenersOf(socket) === print.listeners;
}

/** Between two requests, with nothing read that is not answered and nothing written that is not sent. */
function isIdle(/** @type {any} */ socket, /** @type {any} */ parser) {
  return !runtime.responseOf(socket) && runtime.parserOf(socket) === parser && runtime.isAtRest(socket);
}

/** For how long the connection may still be silent, milliseconds. */
function remainingTimeout(/** @type {any} */ server, /** @type {any} */ socket, /** @type {number} */ now) {
  const whole = socket.timeout || server.keepAliveTimeout || 0;
  if (whole === 0) return UNLIMITED;
  return Math.max(1, whole - runtime.timeoutElapsed(socket, now));
}

/**
 * Hands one connection over; false when it may not move, or not now.
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
  // No shutdown: the connection lives on under the other descriptor.
  socket.destroy();
  return true;
}

/**
 * Hands over what is idle, at most `max` connections; how many went.
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
 * Hands this connection over if it is idle; whether it went.
 *
 * @param {any} server
 * @param {number} group
 * @param {any} socket
 */
function handOffOne(server, group, socket) {
  const parser = runtime.parserOf(socket);
  if (!isIdle(socket, parser) || !isUntouched(server, socket)) return false;
  // Whether a request has begun only the list knows, which is asked last: it may be long.
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
 * A connection of another worker's begins its life here: it may be silent for so long and no longer, and a
 * request that is late is none that took too long to arrive.
 *
 * @param {any} server
 * @param {any} connection
 * @param {number} remaining milliseconds
 * @param {number} count requests that it has brought
 */
function resume(server, connection, remaining, count) {
  const socket = runtime.socketOf(connection);
  // Closed by a listener at once, or a server of another kind.
  if (!socket || !runtime.parserOf(socket) || socket.destroyed) return;
  arrivals.any = true;
  runtime.excuseLate(server, isResuming);
  socket[resuming] = true;
  fellSilent(socket, performance.now());
  if (server.maxRequestsPerSocket > 0) socket[served] = count;
  if (remaining < UNLIMITED) socket.setTimeout(Math.max(remaining, MIN_REMAINING));
}

/** Each request of this connection, a proxy's, may belong to another worker. @param {any} connection */
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

/** Its first request is here: from now on it is like any other. @param {any} socket */
function endResume(socket) {
  if (!socket[resuming]) return;
  socket[resuming] = false;
  socket.setTimeout(socket.server.timeout || 0);
}

/** It came from another worker and has sent nothing here yet. @param {any} socket */
function isResuming(socket) {
  return socket[resuming] === true && socket.bytesRead === 0;
}

/**
 * Counts a request where the server limits them. True when it is the last of a connection that came from another worker:
 * Node counts the others itself, and answers what comes after the last.
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
