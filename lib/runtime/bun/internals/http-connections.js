// @ts-check
'use strict';

// Bun's own list of a server's HTTP/1 connections.
//
// Relies on: the symbol 'http.server.trackedConnections' of a server of node:http, and 'http1Connections' of one of node:http2
// with `allowHTTP1`, whose values are sets of sockets; `parser` of a socket, which has the socket, and which an upgraded one
// has no more; `socket._httpMessage`, the response that a connection carries; two listeners of Bun's own for 'connection',
// which a server emits through `Server.prototype.emit` when it has got the connection, before it gets or reads from another;
// `_requestCount` of a socket; the keys and listeners that Bun adds to a socket after that.
// Seen on: Bun 1.4.4, 1.4.5.

const http = require('node:http');

const TRACKED = 'http.server.trackedConnections';
/** Those of HTTP/1 of a server of HTTP/2. */
const TRACKED_HTTP1 = 'http1Connections';

/** @type {Map<string, symbol>} */
const symbols = new Map();

/** The value of a server's property with a symbol that Bun does not share. @param {any} server @param {string} description @returns {any} */
function propertyOf(server, description) {
  const known = symbols.get(description);
  if (known !== undefined) return server[known];
  const found = Object.getOwnPropertySymbols(server).find((symbol) => symbol.description === description);
  if (found === undefined) return undefined;
  symbols.set(description, found);
  return server[found];
}

/**
 * The list of a server, without upgraded connections; undefined for a server without one.
 *
 * @param {any} server
 * @returns {{ all(): any[], idle(): any[], active(): any[] } | undefined}
 */
function connectionsOf(server) {
  const tracked = propertyOf(server, TRACKED) ?? propertyOf(server, TRACKED_HTTP1);
  if (tracked === undefined) return undefined;
  const all = () => [...tracked].flatMap(({ parser }) => parser ?? []);
  return {
    all,
    idle: () => all().filter(({ socket }) => !socket._httpMessage),
    active: () => all().filter(({ socket }) => socket._httpMessage),
  };
}

/** The connections of a server that have sent a request, upgraded ones too; undefined for a server without a list. @param {any} server @returns {any[] | undefined} */
function socketsOfServer(server) {
  const tracked = propertyOf(server, TRACKED);
  return tracked && [...tracked];
}

/** Calls back with each connection of a server of node:http when Bun reports it. @param {(server: any, socket: any) => void} came */
function onHttpConnection(came) {
  const prototype = /** @type {any} */ (http.Server.prototype);
  const { emit } = prototype;
  prototype.emit = function (/** @type {any} */ name, /** @type {any} */ socket) {
    const isHeard = emit.apply(this, arguments);
    if (name === 'connection') came(this, socket);
    return isHeard;
  };
}

/** Bun counts the requests of a connection only if its server limits them. @param {any} socket @param {number} count so far */
function setRequestCount(socket, count) {
  socket._requestCount = count;
}

/** Own properties that Bun adds to an untouched socket later. */
const LATE_KEYS = new Set(['_httpMessage', '_peername', '_requestCount', '_sockname', 'parser', 'timeout']);

/** The same of symbols: their descriptions. */
const LATE_SYMBOLS = new Set([
  'closeCallback',
  'keepAliveTimeoutSet',
  'kOutgoingData',
  'kPipelinedResponses',
  'kStopParsingOnCloseListener',
  'request',
  'socketTimeoutTimer',
]);

/** The listeners that Bun adds later. */
const LATE_LISTENERS = new Set(['onServerResponseClose', 'onSocketCloseStopParsing']);

/** Bun's own listeners of a server for 'connection'. */
const CONNECTION_LISTENERS = 2;

module.exports = { CONNECTION_LISTENERS, LATE_KEYS, LATE_LISTENERS, LATE_SYMBOLS, connectionsOf, onHttpConnection, setRequestCount, socketsOfServer };
