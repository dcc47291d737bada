// @ts-check
'use strict';

// Node's own list of a server's HTTP/1 connections.
//
// Relies on: the symbol 'http.server.connections' of an HTTP server, whose value has `all()`, `idle()`, `active()` and
// `expired(headersTimeout, requestTimeout)`: arrays of parsers, each with its `socket`.
// Seen on: Node.js 20, 22, 24, 26.

/** @type {symbol | undefined} */
let listSymbol;

/**
 * The list of a server; undefined for a server without one.
 *
 * @param {any} server
 * @returns {{ all(): any[], idle(): any[], active(): any[], expired(...limits: any[]): any[] } | undefined}
 */
function connectionsOf(server) {
  listSymbol ??= Object.getOwnPropertySymbols(server).find((symbol) => symbol.description === 'http.server.connections');
  return listSymbol === undefined ? undefined : server[listSymbol];
}

/** Lists that exclude some connections from `expired`. @type {WeakSet<object>} */
const excusing = new WeakSet();

/**
 * For Node a connection's first request is in progress from the start and expires after `headersTimeout`. Connections
 * for which `isExcused` is true never expire. (From Node.js 24 on a parser that is removed from the list gets no more
 * data.)
 *
 * @param {any} server
 * @param {(socket: any) => boolean} isExcused
 */
function excuseLate(server, isExcused) {
  const list = connectionsOf(server);
  if (list === undefined || excusing.has(list)) return;
  excusing.add(list);
  const { expired } = list;
  list.expired = (...limits) => expired.apply(list, limits).filter(({ socket }) => !socket || !isExcused(socket));
}

module.exports = { connectionsOf, excuseLate };
