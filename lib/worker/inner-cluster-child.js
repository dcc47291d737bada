// @ts-check
'use strict';

// Runs (--require) in a process that a worker's program has made with node:cluster. When its primary disconnects it, Node
// closes its servers: idle connections at once, although a client may be asking, and busy ones when their clients like.
// Here the next response of each is its last, and a connection ends when it has had time to ask for one.

const cluster = require('node:cluster');
const http = require('node:http');
const runtime = require('../runtime');
const { silentSince } = require('../symbols').socket;

/** A connection has so long after its last response to ask once more, milliseconds. */
const LINGER_TIMEOUT = 2000;
/** Between two looks, milliseconds. */
const LOOK_INTERVAL = 50;

// A child that the program forks inherits execArgv; nobody disconnects that one.
const own = process.execArgv.indexOf(__filename);
if (own > 0) process.execArgv.splice(own - 1, 2);

/** The server's sides of HTTP/1 connections. */
function connections() {
  return runtime.socketsOf((server) => server instanceof http.Server);
}

function leave() {
  http.Server.prototype.closeIdleConnections = () => {};
  runtime.onResponse({
    begun(response) {
      response.shouldKeepAlive = false;
    },
  });
  for (const socket of connections()) {
    const response = runtime.responseOf(socket);
    if (response && !response.headersSent) response.shouldKeepAlive = false;
  }
  setInterval(() => {
    const now = performance.now();
    for (const socket of connections()) {
      const isUpgraded = !runtime.parserOf(socket);
      if (runtime.responseOf(socket) || isUpgraded) delete socket[silentSince];
      else if (now - (socket[silentSince] ??= now) >= LINGER_TIMEOUT) socket.destroy();
    }
  }, LOOK_INTERVAL).unref();
}

if (cluster.isWorker) runtime.beforeDisconnect(leave);
