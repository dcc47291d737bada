// @ts-check
'use strict';

// Connections from descriptors.
//
// Relies on: `net.connect({ fd })` adopts a connection of this process (`new net.Socket({ fd })` does not), and a server of
// node:http serves what it gets by `emit('connection', socket)`; a server of `Bun.serve` has no such event.
// Seen on: Bun 1.4.4, 1.4.5.

const net = require('node:net');
const { BunServer } = require('./bun-server');

/** A connection of this process as a socket. @param {number} fd */
function openSocket(fd) {
  return net.connect(/** @type {any} */ ({ fd }));
}

/** Whether the server serves a connection that it gets by its 'connection' event. @param {any} server @returns {boolean} */
function takesSockets(server) {
  return !(server instanceof BunServer);
}

module.exports = { openSocket, takesSockets };
