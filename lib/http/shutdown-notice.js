// @ts-check
'use strict';

// How connections of other protocols learn that their worker leaves: HTTP/2 sessions by GOAWAY at once, so
// that they end with their last stream; WebSockets by a close frame with 1001, when everything else is done.

const runtime = require('../runtime');
const { isTunnel } = require('./http2-streams');
const { isEndless } = require('./protocols');

/** Sessions that live, by HTTP/2 server. @type {WeakMap<object, Set<import('node:http2').Http2Session>>} */
const sessions = new WeakMap();

/** Sockets that live and have left HTTP behind, by server. @type {WeakMap<object, Set<any>>} */
const upgraded = new WeakMap();

/** Follows the connections of a server that get a notice when it leaves. @param {any} server */
function follow(server) {
  if (runtime.isHttp2Server(server)) followSessions(server);
  followUpgrades(server);
}

/** @param {any} server */
function followSessions(server) {
  if (sessions.has(server)) return;
  const live = new Set();
  sessions.set(server, live);
  server.on('session', (/** @type {import('node:http2').Http2Session} */ session) => {
    live.add(session);
    session.once('close', () => live.delete(session));
  });
}

/**
 * Node gives a socket away when somebody listens for 'upgrade', and answers as ever when nobody does: so this
 * listens only where the program does.
 *
 * @param {any} server
 */
function followUpgrades(server) {
  if (upgraded.has(server)) return;
  const live = new Set();
  upgraded.set(server, live);
  function remember(/** @type {unknown} */ request, /** @type {any} */ socket) {
    live.add(socket);
    socket.once('close', () => live.delete(socket));
  }
  const join = () => server.listeners('upgrade').includes(remember) || server.on('upgrade', remember);
  if (server.listenerCount('upgrade') > 0) join();
  server.on('newListener', (/** @type {string} */ name, /** @type {Function} */ listener) => {
    if (name === 'upgrade' && listener !== remember) join();
  });
  server.on('removeListener', (/** @type {string} */ name) => {
    const left = name === 'upgrade' ? server.listeners(name) : [];
    if (left.length === 1 && left[0] === remember) server.removeListener(name, remember);
  });
}

/** Types of answers that have no end of their own. */
const ENDLESS_HEAD = /\r\ncontent-type:\s*(?:text\/event-stream|multipart\/x-mixed-replace)\b/i;

/** Whether an HTTP/1 response streams events, and so has no end of its own. @param {any} response */
function isEventStream(response) {
  const header = response ? runtime.headerOf(response) : null;
  return header !== null && ENDLESS_HEAD.test(header);
}

/**
 * Whether a session of an HTTP/2 server has anything to end but streams of events and tunnels (WebSockets: RFC 8441).
 * Where its streams are unknown, it has.
 *
 * @param {any} session
 */
function isBusy(session) {
  const streams = runtime.openStreams(session);
  if (streams === null || streams.length === 0) return true;
  return streams.some((stream) => !isTunnel(stream) && !isEndless(stream.sentHeaders?.['content-type']));
}

/** @param {any} server */
function hasBusySessions(server) {
  for (const session of sessions.get(server) ?? []) if (isBusy(session)) return true;
  return false;
}

/** No new streams: sessions end when those that are open do. @param {any} server */
function endSessions(server) {
  for (const session of sessions.get(server) ?? []) if (!session.closed) session.close();
}

/** A close code of RFC 6455: the server goes away. */
const GOING_AWAY = 1001;

/** Closes the WebSockets of a server in their own way. @param {any} server */
function closeWebSockets(server) {
  for (const socket of upgraded.get(server) ?? []) runtime.webSocketOf(socket)?.close(GOING_AWAY, 'going away');
}

module.exports = { closeWebSockets, endSessions, follow, hasBusySessions, isEventStream };
