// @ts-check
'use strict';

// The streams of HTTP/2 sessions.
//
// Relies on: the session of a server emits 'stream' with each of its streams, after its server has; a stream emits 'close'.
// Seen on: Bun 1.4.4, 1.4.5.

/** Open streams by session. @type {WeakMap<object, Set<any>>} */
const streams = new WeakMap();

/** Follows the streams of a new session. @param {any} session */
function followSessionStreams(session) {
  const open = new Set();
  streams.set(session, open);
  session.on('stream', (/** @type {any} */ stream) => {
    if (stream.destroyed) return;
    open.add(stream);
    stream.once('close', () => open.delete(stream));
  });
}

/** The open streams of a session; null if unknown. @param {any} session @returns {any[] | null} */
function openStreams(session) {
  const open = streams.get(session);
  return open === undefined ? null : [...open];
}

module.exports = { followSessionStreams, openStreams };
