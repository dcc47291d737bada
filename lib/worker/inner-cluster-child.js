// @ts-check
'use strict';

// Preloaded (--require) in a process that a worker's program has forked with node:cluster. When its primary disconnects
// it, Node closes its servers: idle connections at once, although a request may be in transit, and busy ones whenever
// their clients close them. This file makes the next response of each connection its last, and closes a connection
// after a grace period without a request.

const cluster = require('node:cluster');
const http = require('node:http');
const runtime = require('../runtime');
const { silentSince } = require('../symbols').socket;

/** How long a connection may send another request after its last response, milliseconds. */
const LINGER_TIMEOUT = 2000;
/** Interval between two checks, milliseconds. */
const LOOK_INTERVAL = 50;

// A child that the program forks otherwise inherits execArgv; it is not disconnected.
const own = process.execArgv.indexOf(__filename);
if (own > 0) process.execArgv.splice(own - 1, 2);

/** The HTTP/1 connections of this process's servers. */
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
