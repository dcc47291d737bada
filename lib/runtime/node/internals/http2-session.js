// @ts-check
'use strict';

// HTTP/2 servers and their sessions.
//
// Relies on: the names of the classes, Http2Server and Http2SecureServer, which Node does not export, and the symbol
// 'state' of a session, whose value has `streams`, a map of those that are open.
// Seen on: Node.js 20, 22, 24, 26.

/** @param {any} server */
function isHttp2Server(server) {
  return /^Http2(Secure)?Server$/.test(server.constructor.name);
}

/** Called with each new session of a server: Node has its streams itself. @param {any} _session */
function followSessionStreams(_session) {}

/** The open streams of a session; null if unknown. @param {any} session @returns {any[] | null} */
function openStreams(session) {
  const symbol = Object.getOwnPropertySymbols(session).find(({ description }) => description === 'state');
  const streams = symbol === undefined ? undefined : session[symbol]?.streams;
  // Node's internal maps are not instances of Map.
  return typeof streams?.values === 'function' ? [...streams.values()] : null;
}

module.exports = { followSessionStreams, isHttp2Server, openStreams };
