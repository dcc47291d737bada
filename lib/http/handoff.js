// @ts-check
'use strict';

// Handing connections over: an idle one that only Node's own HTTP code has touched goes to another worker
// without its client noticing. Whether it may is decided here, and everything happens in one turn of the loop,
// so that no byte is read in between: what the client has sent lies in the socket and goes along.

const http = require('node:http');
const https = require('node:https');
const { addon } = require('../native');
const { fellSilent, listOf } = require('./connections');

/** A program that must keep a connection in its worker says so: `socket[Symbol.for('drover.pin')] = true`. */
const PIN = Symbol.for('drover.pin');

/** What Node puts on a socket by and by; the addresses when an application first looks at them, as loggers do. */
const LATER_KEYS = new Set(['_httpMessage', '_peername', '_sockname', 'timeout']);

/** Requests that a connection has brought, where its server limits them. */
const served = Symbol('drover.served');
/** The connection came from another worker and has said nothing here yet. */
const settling = Symbol('drover.settling');
/** It is to go back to the primary after each response. */
const lent = Symbol('drover.lent');
const OURS = new Set([
  'drover.bytesLooked',
  'drover.bytesSeen',
  'drover.lent',
  'drover.served',
  'drover.settling',
  'drover.started',
]);

/** @typedef {{ keys: Set<string | symbol>, listeners: string }} Print how a socket looks that nobody has touched */

/** @type {WeakMap<object, Print | null>} by server; null: its connections never move */
const prints = new WeakMap();

/** Timers run before sockets are read: what a client has sent by now must be read first. Milliseconds. */
const LEAST_QUIET = 100;

/** Whether any connection ever came from another worker, or was lent: until then a request need not look. */
const arrivals = { any: false, lent: false };

/** @type {symbol | undefined} */
let ownerSymbol;

/** The socket over a connection's handle. @param {any} connection */
function socketOf(connection) {
  ownerSymbol ??= Object.getOwnPropertySymbols(connection).find((symbol) => symbol.description === 'owner_symbol');
  return ownerSymbol === undefined ? undefined : connection[ownerSymbol];
}

/** What Node adds for the time of a response. */
const PASSING = 'onServerResponseClose';

/** Events and the names of their listeners. @param {any} socket */
function listenersOf(socket) {
  const events = socket.eventNames().map((/** @type {string | symbol} */ name) => {
    const names = socket.listeners(name).map((/** @type {Function} */ listener) => listener.name);
    return `${String(name)}:${names.filter((/** @type {string} */ own) => own !== PASSING).join()}`;
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
  const socket = socketOf(connection);
  if (socket === undefined || socket.destroyed) return false;
  prints.set(server, { keys: new Set(Reflect.ownKeys(socket)), listeners: listenersOf(socket) });
  return true;
}

/** Only Node's own code has had to do with it. @param {any} server @param {any} socket */
function isUntouched(server, socket) {
  const print = prints.get(server);
  if (!print || socket[PIN] || server.listenerCount('connection') !== 1) return false;
  const isKnown = (/** @type {string | symbol} */ key) =>
    print.keys.has(key) || (typeof key === 'symbol' ? OURS.has(key.description ?? '') : LATER_KEYS.has(key));
  return Reflect.ownKeys(socket).every(isKnown) && listenersOf(socket) === print.listeners;
}

/** Between two requests, with nothing read that is not answered and nothing written that is not sent. */
function isIdle(/** @type {any} */ socket, /** @type {any} */ parser) {
  const { _handle: handle, _readableState: reading, _writableState: writing } = socket;
  return (
    handle?.fd > 0 &&
    !socket.destroyed &&
    !socket.connecting &&
    !socket._httpMessage &&
    socket.parser === parser &&
    !reading.ended &&
    !writing.ending &&
    socket.readableLength === 0 &&
    socket.writableLength === 0 &&
    handle.writeQueueSize === 0
  );
}

/** A clock that Node's timers were set by, milliseconds. */
function timerClock() {
  const timer = /** @type {any} */ (setTimeout(() => {}, 1));
  const now = timer._idleStart;
  clearTimeout(timer);
  return now;
}

/** @param {any} socket */
function timerOf(socket) {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout');
  return symbol === undefined ? null : socket[symbol];
}

/** For how long the connection may still be silent, milliseconds. */
function quietTime(/** @type {any} */ server, /** @type {any} */ socket, /** @type {number} */ now) {
  const timer = timerOf(socket);
  const whole = socket.timeout || server.keepAliveTimeout || 0;
  // Without a limit: as long as a number of 31 bits can say.
  if (whole === 0) return 0x7fffffff;
  const since = timer?._idleStart >= 0 ? now - timer._idleStart : 0;
  return Math.max(1, whole - since);
}

/**
 * Gives one connection away; false when it may not move, or not now.
 *
 * @param {any} server
 * @param {number} group
 * @param {any} socket
 * @param {number} [now]
 */
function give(server, group, socket, now = timerClock()) {
  const isNew = socket.bytesRead === 0 && !socket[settling];
  const quiet = isNew ? 0 : quietTime(server, socket, now);
  if (!addon.giveAway(group, socket._handle.fd, quiet, socket[served] ?? 0)) return false;
  // No shutdown: the connection lives on under the other descriptor.
  socket.destroy();
  return true;
}

/**
 * Gives away what is idle, at most `most` connections; how many went.
 *
 * @param {any} server
 * @param {number} group
 * @param {number} [most]
 */
function giveIdle(server, group, most = Infinity) {
  if (!prints.get(server)) return 0;
  const now = timerClock();
  let given = 0;
  for (const [socket, parser] of candidates(server)) {
    if (given >= most) break;
    if (isIdle(socket, parser) && isUntouched(server, socket) && give(server, group, socket, now)) given += 1;
  }
  return given;
}

/**
 * Gives this connection away if it is idle; whether it went.
 *
 * @param {any} server
 * @param {number} group
 * @param {any} socket
 */
function giveOne(server, group, socket) {
  if (!isIdle(socket, socket.parser) || !isUntouched(server, socket)) return false;
  // Whether a request has begun only the list knows, which is asked last: it may be long.
  return listOf(server).idle().includes(socket.parser) && give(server, group, socket);
}

/** @param {any} server @returns {[any, any][]} sockets that may be idle, with their parsers */
function candidates(server) {
  const list = listOf(server);
  if (!list) return [];
  const idle = new Set(list.idle());
  const mayBe = (/** @type {any} */ parser) => parser.socket && (idle.has(parser) || parser.socket.bytesRead === 0);
  return list.all().filter(mayBe).map((/** @type {any} */ parser) => [parser.socket, parser]);
}

/** Lists of connections whose settlers are never late. @type {WeakSet<object>} */
const excused = new WeakSet();

/**
 * To Node a connection's first request is under way from the beginning, and late after `headersTimeout`. The list
 * is asked which are; taking a parser out of it instead makes it deaf from Node.js 24 on.
 *
 * @param {any} server
 */
function excuseSettlers(server) {
  const list = listOf(server);
  if (!list || excused.has(list)) return;
  excused.add(list);
  const { expired } = list;
  list.expired = (/** @type {any[]} */ ...limits) =>
    expired.apply(list, limits).filter((/** @type {any} */ { socket }) => !socket || !isSettling(socket));
}

/**
 * A connection of another worker's begins its life here: it may be silent for so long and no longer, and a
 * request that is late is none that took too long to arrive.
 *
 * @param {any} server
 * @param {any} connection
 * @param {number} quiet milliseconds
 * @param {number} count requests that it has brought
 */
function settle(server, connection, quiet, count) {
  const socket = socketOf(connection);
  // Closed by a listener at once, or a server of another kind.
  if (!socket?.parser || socket.destroyed) return;
  arrivals.any = true;
  excuseSettlers(server);
  socket[settling] = true;
  fellSilent(socket, performance.now());
  if (server.maxRequestsPerSocket > 0) socket[served] = count;
  if (quiet < 0x7fffffff) socket.setTimeout(Math.max(quiet, LEAST_QUIET));
}

/** The connection is a proxy's: each of its requests may belong to another worker. @param {any} connection */
function borrow(connection) {
  const socket = socketOf(connection);
  if (!socket) return;
  arrivals.lent = true;
  socket[lent] = true;
}

/** @param {any} socket */
function isLent(socket) {
  return socket[lent] === true;
}

/** Its first request is here: from now on it is like any other. @param {any} socket */
function hasSettled(socket) {
  if (!socket[settling]) return;
  socket[settling] = false;
  socket.setTimeout(socket.server.timeout || 0);
}

/** It came from another worker and has said nothing here yet. @param {any} socket */
function isSettling(socket) {
  return socket[settling] === true && socket.bytesRead === 0;
}

/**
 * Counts a request where the server limits them. True when it is the last of a connection that came from another worker:
 * Node counts the others itself, and answers what comes after the last.
 *
 * @param {any} socket
 * @param {number} most
 */
function countRequest(socket, most) {
  socket[served] = (socket[served] ?? 0) + 1;
  return socket[settling] !== undefined && socket[served] >= most;
}

module.exports = {
  arrivals,
  borrow,
  countRequest,
  giveIdle,
  giveOne,
  hasSettled,
  isLent,
  isSettling,
  isUntouched,
  learn,
  settle,
};
