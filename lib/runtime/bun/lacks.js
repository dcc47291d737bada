// @ts-check
'use strict';

// What Node.js has for each connection, and Bun has not: the core counts and moves Bun's connections instead
// (src/worker/virtual_listener.rs).

const whatBunLacks = {
  /** Bun does not name the resources that keep its event loop alive. */
  activeResources: () => /** @type {string[]} */ ([]),
  seesResources: false,
  /** Of async_hooks, Bun has the beginning of ticks only. */
  seesWork: false,
  excuseLate() {},
  /** @param {any} socket */
  acceptorOf: (socket) => socket.server,
  /** The core counts bytes. */
  bytesOf: () => ({ read: 0, written: 0 }),
  descriptorOf: () => -1,
  /** Sockets take the place of handles. @param {any} socket */
  socketOf: (socket) => socket,
  connectionOf: () => null,
  onConnectionEnd() {},
  /** A server of Bun accepts until it is closed. */
  stopAccepting() {},
  holdClose: () => () => {},
  onTicketKeys() {},
  /** Joins nothing: without the descriptor of a connection. */
  isLast: () => false,
};

module.exports = { whatBunLacks };
