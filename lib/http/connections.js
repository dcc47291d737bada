// @ts-check
'use strict';

// What is known of a worker's HTTP connections: Node's own list, and when a socket's response began.

const connectionsOf = Symbol('drover.connections');

/**
 * When the response that a socket now carries began, milliseconds; between two, when the last one was done, below
 * zero. On the socket, which carries one response at a time, because a property more on each response costs more
 * than all else that is done for it.
 */
const started = Symbol('drover.started');

/** Node's list of a server's HTTP connections; undefined for a server of another kind. @param {any} server */
function listOf(server) {
  server[connectionsOf] ??= Object.getOwnPropertySymbols(server).find(
    (symbol) => symbol.description === 'http.server.connections',
  );
  return server[server[connectionsOf]];
}

/** Whether a request has come on this connection. @param {any} socket */
function hasAsked(socket) {
  return socket[started] !== undefined;
}

/** Whether a request of this connection is being answered. @param {any} socket */
function isAnswering(socket) {
  return socket[started] > 0;
}

/** Since when a connection between two requests has been silent, milliseconds. @param {any} socket */
function silentSince(socket) {
  return -socket[started];
}

/** Its silence begins. @param {any} socket @param {number} at milliseconds */
function fellSilent(socket, at) {
  socket[started] = -at;
}

module.exports = { fellSilent, hasAsked, isAnswering, listOf, silentSince, started };
