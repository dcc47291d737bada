// @ts-check
'use strict';

// What a server speaks.

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');

/** @param {any} server */
function isHttp1(server) {
  return server instanceof http.Server || server instanceof https.Server;
}

/** @param {any} server */
function isEncrypted(server) {
  return server instanceof tls.Server;
}

/** The classes of all servers of streams; those of http, https, http2 and tls are subclasses. */
const serverClasses = /** @type {any[]} */ ([net.Server]);

/** Whether it is a server of streams, of any protocol. @param {any} value */
function isServer(value) {
  return value instanceof net.Server;
}

module.exports = { isEncrypted, isHttp1, isServer, serverClasses };
