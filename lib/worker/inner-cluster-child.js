// @ts-check
'use strict';

// Runs (--require) in a process that a worker's program has made with node:cluster. When its primary disconnects it, Node
// closes its servers: idle connections at once, although a client may be asking, and busy ones when their clients like.
// Here all are told with their next response that it is the last, and end when they have had time to ask for one.

const cluster = require('node:cluster');
const http = require('node:http');

/** A connection has so long after its last response to ask once more, milliseconds. */
const LINGER = 2000;
/** Between two looks, milliseconds. */
const LOOK_INTERVAL = 50;

const silentSince = Symbol('drover.silentSince');

// A child that the program forks inherits execArgv; nobody disconnects that one.
const own = process.execArgv.indexOf(__filename);
if (own > 0) process.execArgv.splice(own - 1, 2);

/** The server's sides of HTTP/1 connections. @returns {any[]} */
function connections() {
  const handles = /** @type {any} */ (process)._getActiveHandles();
  return handles.filter((/** @type {any} */ handle) => handle.server instanceof http.Server || handle._server instanceof http.Server);
}

function leave() {
  http.Server.prototype.closeIdleConnections = () => {};
  const { prototype } = /** @type {any} */ (http.ServerResponse);
  const { assignSocket } = prototype;
  prototype.assignSocket = function (/** @type {any} */ socket) {
    this.shouldKeepAlive = false;
    return assignSocket.call(this, socket);
  };
  for (const { _httpMessage: response } of connections()) if (response && !response.headersSent) response.shouldKeepAlive = false;
  setInterval(() => {
    const now = performance.now();
    for (const socket of connections()) {
      const isUpgraded = !socket.parser;
      if (socket._httpMessage || isUpgraded) delete socket[silentSince];
      else if (now - (socket[silentSince] ??= now) >= LINGER) socket.destroy();
    }
  }, LOOK_INTERVAL).unref();
}

/** What its primary says on the channel of node:cluster. @param {any} message */
function hear(message) {
  if (message?.cmd !== 'NODE_CLUSTER' || message.act !== 'disconnect') return;
  process.removeListener('internalMessage', hear);
  leave();
}

// Before Node's own listener closes the servers.
if (cluster.isWorker) process.prependListener('internalMessage', hear);
