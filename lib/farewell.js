// @ts-check
'use strict';

// How connections of other protocols are told that their worker leaves: HTTP/2 sessions by GOAWAY at once, so
// that they end with their last stream; WebSockets by a close frame with 1001, when everything else is done.

/** Sessions that live, by HTTP/2 server. @type {WeakMap<object, Set<import('node:http2').Http2Session>>} */
const sessions = new WeakMap();

/** Follows the sessions of an HTTP/2 server. @param {any} server */
function followSessions(server) {
  if (!/^Http2(Secure)?Server$/.test(server.constructor.name) || sessions.has(server)) return;
  const live = new Set();
  sessions.set(server, live);
  server.on('session', (/** @type {import('node:http2').Http2Session} */ session) => {
    live.add(session);
    session.once('close', () => live.delete(session));
  });
}

/** No new streams: sessions end when those that are open do. @param {any} server */
function endSessions(server) {
  for (const session of sessions.get(server) ?? []) if (!session.closed) session.close();
}

/** Sockets that servers of this process have given out of their hands. @param {Set<any>} servers */
function upgradedOf(servers) {
  /** @type {any[]} */
  const handles = /** @type {any} */ (process)._getActiveHandles?.() ?? [];
  return handles.filter((socket) => servers.has(socket?.server) && !socket.parser && !socket.destroyed);
}

/** The object of the package `ws` (Socket.IO's too) over a socket. @param {any} socket */
function webSocketOf(socket) {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  const found = symbol === undefined ? undefined : socket[symbol];
  return typeof found?.close === 'function' ? found : undefined;
}

const GOING_AWAY = 1001;

/** Closes the WebSockets of these servers in their own way. @param {any[]} servers */
function closeWebSockets(servers) {
  for (const socket of upgradedOf(new Set(servers))) webSocketOf(socket)?.close(GOING_AWAY, 'going away');
}

module.exports = { closeWebSockets, endSessions, followSessions };
