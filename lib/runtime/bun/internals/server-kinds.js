// @ts-check
'use strict';

// What a server speaks, and how long its connections may be idle.
//
// Relies on: http.Server is no net.Server, and https.Server is a subclass of http.Server and not of tls.Server; node:http's servers have `keepAliveTimeout`
// in milliseconds, to which Bun adds `keepAliveTimeoutBuffer`; the idle time of `Bun.serve` is 10 seconds unless its options say otherwise.
// Seen on: Bun 1.4.4, 1.4.5.

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const { BunServer } = require('./bun-server');

/** @param {any} server */
function isHttp1(server) {
  return server instanceof BunServer ? server.isHttp : server instanceof http.Server;
}

/** @param {any} server */
function isEncrypted(server) {
  return server instanceof BunServer ? server.isEncrypted : server instanceof https.Server || 'setSecureContext' in server;
}

/** How long a connection of the server may be idle, milliseconds; 0: for any time. @param {any} server @returns {number} */
function idleTimeoutOf(server) {
  if (server instanceof BunServer) return server.idleTimeout;
  const { keepAliveTimeout = 0, keepAliveTimeoutBuffer = 0 } = server;
  return keepAliveTimeout === 0 ? 0 : keepAliveTimeout + keepAliveTimeoutBuffer;
}

/** The classes of all servers of streams; those of https and tls are subclasses. */
const serverClasses = /** @type {any[]} */ ([net.Server, http.Server]);

/** Whether it is a server of streams, of any protocol. @param {any} value */
function isServer(value) {
  return serverClasses.some((one) => value instanceof one);
}

module.exports = { idleTimeoutOf, isEncrypted, isHttp1, isServer, serverClasses };
