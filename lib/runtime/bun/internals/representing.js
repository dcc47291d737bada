// @ts-check
'use strict';

// A server of node:http or node:net that listens by name only: other processes serve its address.
//
// Relies on: own properties of a server hide those of its class (`listening`, `address`, `close`, `ref`, `unref`).
// Seen on: Bun 1.4.4, 1.4.5.

const NAMES = ['listening', 'address', 'close', 'ref', 'unref'];

/**
 * @param {any} server
 * @param {{ address: any, ref(): void, unref(): void, close(): Promise<unknown> }} held
 * @param {() => void} closes called when it no longer listens
 */
function represent(server, held, closes) {
  const own = {
    listening: { get: () => true },
    address: { value: () => held.address },
    ref: { value: () => (held.ref(), server) },
    unref: { value: () => (held.unref(), server) },
    close: {
      value(/** @type {(() => void) | undefined} */ callback) {
        for (const name of NAMES) delete server[name];
        if (callback !== undefined) server.once('close', callback);
        closes();
        held.close().then(() => server.emit('close'));
        return server;
      },
    },
  };
  for (const [name, descriptor] of Object.entries(own)) Object.defineProperty(server, name, { ...descriptor, configurable: true, enumerable: false });
  process.nextTick(() => server.emit('listening'));
}

/** Whether the server represents others. @param {any} server @returns {boolean} */
function isRepresenting(server) {
  return Object.hasOwn(server, 'listening');
}

module.exports = { isRepresenting, represent };
