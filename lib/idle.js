// @ts-check
'use strict';

// Idle connections of a worker's HTTP servers. A connection that has not asked yet is not idle: its request is
// on the way, or was not read yet, and from Node.js 26 on `closeIdleConnections` would reset it. With many
// processes behind a port that is a request lost at every close.

const http = require('node:http');
const https = require('node:https');
const { hasAsked } = require('./requests');

/** A connection that has never asked has so long to begin once its server closes, milliseconds. */
const SILENCE = 1000;

const connectionsOf = Symbol('drover.connections');

/** Node's list of a server's HTTP connections. @param {any} server */
function listOf(server) {
  server[connectionsOf] ??= Object.getOwnPropertySymbols(server).find(
    (symbol) => symbol.description === 'http.server.connections',
  );
  return server[server[connectionsOf]];
}

/** Sockets between two requests. @param {any} list */
function idleOf(list) {
  const sockets = list.idle().map((/** @type {any} */ parser) => parser.socket);
  return sockets.filter((/** @type {any} */ socket) => socket && !(socket._httpMessage && !socket._httpMessage.finished));
}

/** Gives every server of this process a `closeIdleConnections` that knows newcomers. */
function spareNewcomers() {
  const { closeIdleConnections } = http.Server.prototype;

  /** @this {any} */
  function closeIdle() {
    const list = listOf(this);
    if (!list) return closeIdleConnections.call(this);
    const idle = idleOf(list);
    for (const socket of idle.filter(hasAsked)) socket.destroy();
    const newcomers = idle.filter((/** @type {any} */ socket) => !hasAsked(socket));
    if (newcomers.length === 0) return;
    const late = () => newcomers.filter((/** @type {any} */ socket) => !hasAsked(socket) && socket.bytesRead === 0);
    setTimeout(() => late().forEach((/** @type {any} */ socket) => socket.destroy()), SILENCE).unref();
  }

  http.Server.prototype.closeIdleConnections = closeIdle;
  https.Server.prototype.closeIdleConnections = closeIdle;
}

module.exports = { SILENCE, listOf, spareNewcomers };
