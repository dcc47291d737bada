// @ts-check
'use strict';

// The number of a server's connections, and their ends.
//
// Relies on: `server._connections`, which Node counts up before 'connection' and down when a socket is destroyed, and
// `server._emitCloseIfDrained()`, which it calls after each of those ends.
// Seen on: Node.js 20, 22, 24, 26.

/** @param {any} server @returns {number} */
function connectionCount(server) {
  return server._connections;
}

/** Calls back each time that a connection of the server has ended. @param {any} server @param {() => void} ended */
function onConnectionEnd(server, ended) {
  const { _emitCloseIfDrained: emitCloseIfDrained } = server;
  server._emitCloseIfDrained = function () {
    ended();
    return emitCloseIfDrained.call(this);
  };
}

/**
 * Delays the server's 'close', like an open connection, until the returned function is called.
 *
 * @param {any} server
 */
function holdClose(server) {
  server._connections += 1;
  return () => {
    server._connections -= 1;
    server._emitCloseIfDrained();
  };
}

module.exports = { connectionCount, holdClose, onConnectionEnd };
