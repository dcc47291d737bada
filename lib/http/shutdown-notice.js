// @ts-check
'use strict';

// Notifies connections of other protocols that their worker drains: HTTP/2 sessions get GOAWAY at once, so that they
// end with their last stream; WebSockets get a close frame with code 1001 when everything else is done.

const runtime = require('../runtime');
const { isTunnel } = require('./http2-streams');
const { isEndless } = require('./protocols');

/** Open sessions by HTTP/2 server. @type {WeakMap<object, Set<import('node:http2').Http2Session>>} */
const sessions = new WeakMap();

/** Open upgraded sockets by server. @type {WeakMap<object, Set<any>>} */
const upgraded = new WeakMap();

/** Tracks the connections of a server that get a notice when the worker drains. @param {any} server */
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
    runtime.followSessionStreams(session);
    session.once('close', () => live.delete(session));
  });
}

/**
 * With a listener for 'upgrade' Node hands the socket over, without one it serves the request normally: so drover
 * listens only if the program does.
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

/** Content types of endless responses. */
const ENDLESS_HEAD = /\r\ncontent-type:\s*(?:text\/event-stream|multipart\/x-mixed-replace)\b/i;

/** Whether an HTTP/1 response is an endless event stream. @param {any} response */
function isEventStream(response) {
  const header = response ? runtime.headerOf(response) : null;
  return header !== null && ENDLESS_HEAD.test(header);
}

/**
 * Whether a session of an HTTP/2 server has streams other than event streams and tunnels (WebSockets: RFC 8441). True
 * if its streams are unknown.
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

/** Refuses new streams: sessions end when their open streams do. @param {any} server */
function endSessions(server) {
  for (const session of sessions.get(server) ?? []) if (!session.closed) session.close();
}

/** Close code of RFC 6455: the server is going away. */
const GOING_AWAY = 1001;

/** Closes the WebSockets of a server with a close frame. @param {any} server */
function closeWebSockets(server) {
  for (const socket of upgraded.get(server) ?? []) runtime.webSocketOf(socket)?.close(GOING_AWAY, 'going away');
  for (const socket of runtime.ownWebSocketsOf(server)) socket.close(GOING_AWAY, 'going away');
}

module.exports = { closeWebSockets, endSessions, follow, hasBusySessions, isEventStream };
