// @ts-check
'use strict';

// A server of the primary that the cluster serves: it holds the address and takes no connection itself, because its
// workers do. In place of libuv's handle it has one of these, so that everything else about it is Node's own:
// `address()`, `close()`, `listening`, errors, the signal that aborts it.

const net = require('node:net');
const { coreOf, withoutStack } = require('../errors');

class Held {
  /**
   * @param {any} server
   * @param {{ release(held: Held): Promise<void> }} role
   */
  constructor(server, role) {
    this.server = server;
    this.role = role;
    /** What Node is told when it listens. */
    this.result = 0;
    /** The group of listeners, once the address is open. @type {number | null} */
    this.group = null;
    /** Where it serves, once that is known. @type {import('node:net').AddressInfo | string | null} */
    this.place = null;
    /** Fills in an address as Node's handles do; there is none before the address is open. @type {((out: any) => number) | undefined} */
    this.getsockname = undefined;
  }

  /** @param {any} address as the core names it @param {{ group: number, host: string | null, port: number }} opened */
  opened(address, { group, host, port }) {
    this.group = group;
    if (address.kind === 'unix') this.place = address.path;
    else this.at(host ?? '', port);
  }

  /** @param {string} host @param {number} port */
  at(host, port) {
    const place = { address: host, family: net.isIPv6(host) ? 'IPv6' : 'IPv4', port };
    this.place = place;
    this.getsockname = (out) => {
      Object.assign(out, place);
      return 0;
    };
  }

  listen() {
    return this.result;
  }

  /** The workers' primary has done it. */
  fchmod() {
    return 0;
  }

  /** The cluster keeps the process alive, as long as it runs. */
  ref() {}
  unref() {}

  /** Node closes the handle; the server has closed when the cluster has. @param {() => void} [callback] */
  close(callback) {
    if (callback) process.nextTick(callback);
    if (this.result !== 0) return;
    const { server } = this;
    // Node says 'close' when the last connection has gone.
    server._connections += 1;
    this.role.release(this).then(() => {
      server._connections -= 1;
      server._emitCloseIfDrained();
    });
  }

  /** The cluster has ended without it. */
  end() {
    if (this.server._handle === this) this.server.close();
  }
}

/**
 * Lets the cluster serve in place of a server that begins to listen.
 *
 * @param {any} server
 * @param {any} role the primary's
 * @param {object | null} address as the core names it; null where each worker listens by itself
 * @param {{ backlog: number, mode: number }} options
 * @param {import('../process/listen-address').Place} place
 * @param {(host?: string | null) => void} proceed Node's own way on, once there is something to tell
 */
function hold(server, role, address, options, place, proceed) {
  const held = new Held(server, role);
  server._handle = held;
  if (address === null && place.port !== null && place.port > 0) held.at(place.host ?? '::', place.port);
  role.hold(held, address, options).then(
    () => {
      if (server._handle === held) proceed(typeof held.place === 'string' ? null : held.place?.address);
    },
    (/** @type {any} */ error) => {
      if (server._handle !== held) return;
      const details = coreOf(error)?.details;
      // Of this address, not of what else a start needs (a port of the monitoring API).
      if (details?.errno && 'host' in details) {
        held.result = -details.errno;
        withoutStack(() => proceed(details.host));
      } else {
        server._handle = null;
        process.nextTick(() => server.emit('error', error));
      }
    },
  );
}

module.exports = { hold };
