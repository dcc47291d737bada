// @ts-check
'use strict';

// The connections of servers as objects.
//
// Relies on: a net.Server (and a tls.Server) emits 'connection' through its prototype's `emit`, and counts its connections
// in `_connections`.
// Seen on: Bun 1.4.4, 1.4.5.

const net = require('node:net');
const { socketsOfServer } = require('./http-connections');

/** Servers that listen, or that have connections. @type {Set<any>} */
const servers = new Set();

/** Open connections of servers of node:net. @type {WeakMap<object, Set<any>>} */
const accepted = new WeakMap();

let isFollowing = false;

/** A server starts to listen. @param {any} server */
function rememberServer(server) {
  if (!isFollowing) followAll();
  if (servers.has(server)) return;
  servers.add(server);
  server.once('close', () => servers.delete(server));
}

/** A process whose servers are not drover's keeps its prototypes. */
function followAll() {
  isFollowing = true;
  const prototype = /** @type {any} */ (net.Server.prototype);
  const { emit } = prototype;
  prototype.emit = function (/** @type {any} */ name, /** @type {any} */ socket) {
    if (name === 'connection' && socket instanceof net.Socket) follow(this, socket);
    return Reflect.apply(emit, this, arguments);
  };
}

/** @param {any} server @param {any} socket */
function follow(server, socket) {
  let sockets = accepted.get(server);
  if (sockets === undefined) {
    sockets = new Set();
    accepted.set(server, sockets);
  }
  const open = sockets.add(socket);
  socket.once('close', () => open.delete(socket));
}

/** The connections of servers for which `isOf` is true. @param {(server: any) => boolean} isOf @returns {any[]} */
function socketsOf(isOf) {
  return [...servers].filter(isOf).flatMap((server) => socketsOfServer(server) ?? [...(accepted.get(server) ?? [])]);
}

/** @param {any} server @returns {number} */
function connectionCount(server) {
  return socketsOfServer(server)?.length ?? server._connections ?? 0;
}

module.exports = { connectionCount, rememberServer, socketsOf };
