// @ts-check
'use strict';

// Connections from descriptors.

const net = require('node:net');

/** A connection of this process as a socket. @param {number} fd */
function openSocket(fd) {
  return new net.Socket({ fd, readable: true, writable: true });
}

/** Whether the server serves a connection that it gets by its 'connection' event. @param {any} server @returns {boolean} */
function takesSockets(server) {
  void server;
  return true;
}

module.exports = { openSocket, takesSockets };
