// @ts-check
'use strict';

// What Node.js has for each connection, and Bun has not: the core counts and moves Bun's connections instead
// (src/worker/door.rs).

const whatBunLacks = {
  /** Bun does not name the resources that keep its event loop alive. */
  activeResources: () => /** @type {string[]} */ ([]),
  seesResources: false,
  /** @param {any} server */
  connectionsOf: (server) => void server,
  excuseLate() {},
  /** @param {any} socket */
  acceptorOf: (socket) => socket.server,
  /** The core counts bytes. */
  bytesOf: () => ({ read: 0, written: 0 }),
  descriptorOf: () => -1,
  connectionOf: () => null,
  connectionCount: () => 0,
  onConnectionEnd() {},
  holdClose: () => () => {},
  onTicketKeys() {},
  /** @type {(isOf: (server: any) => boolean) => any[]} */
  socketsOf: () => [],
  /** Joins nothing: without the descriptor of a connection. */
  isLast: () => false,
};

module.exports = { whatBunLacks };
