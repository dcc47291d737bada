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
 * The list of a server; undefined for a server of another kind.
 *
 * @param {any} server
 * @returns {{ all(): any[], idle(): any[], active(): any[], expired(...limits: any[]): any[] } | undefined}
 */
function connectionsOf(server) {
  listSymbol ??= Object.getOwnPropertySymbols(server).find((symbol) => symbol.description === 'http.server.connections');
  return listSymbol === undefined ? undefined : server[listSymbol];
}

/** Lists that leave some connections out of those that are late. @type {WeakSet<object>} */
const excusing = new WeakSet();

/**
 * To Node a connection's first request is under way from the beginning, and late after `headersTimeout`. Those of which
 * `isExcused` is true never are. (A parser that is taken out of the list becomes deaf from Node.js 24 on.)
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
