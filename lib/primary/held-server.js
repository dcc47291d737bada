// @ts-check
'use strict';

// A server of the primary that the cluster serves: it holds the address and takes no connection itself, because its
// workers do. In place of libuv's handle it has one of these, so that everything else about it is Node's own:
// `address()`, `close()`, `listening`, errors, the signal that aborts it.

const net = require('node:net');
const { coreOf, listenError } = require('../errors');
const runtime = require('../runtime');

class HeldServer {
  /**
   * @param {any} server
   * @param {{ release(held: HeldServer): Promise<void> }} role
   */
  constructor(server, role) {
    this.server = server;
    this.role = role;
    /** The group of listeners, once the address is open. @type {number | null} */
    this.group = null;
    /** Where it serves, once that is known. @type {import('node:net').AddressInfo | string | null} */
    this.address = null;
    /** Fills in an address as Node's handles do; there is none before the address is open. @type {((out: any) => number) | undefined} */
    this.getsockname = undefined;
  }

  /** @param {any} address as the core names it @param {{ group: number, host: string | null, port: number }} opened */
  opened(address, { group, host, port }) {
    this.group = group;
    if (address.unix) this.address = address.unix.path;
    else this.at(host ?? '', port);
  }

  /** @param {string} host @param {number} port */
  at(host, port) {
    const address = { address: host, family: net.isIPv6(host) ? 'IPv6' : 'IPv4', port };
    this.address = address;
    this.getsockname = (out) => {
      Object.assign(out, address);
      return 0;
    };
  }

  /** The workers listen. */
  listen() {
    return 0;
  }

  /** The core has done it. */
  fchmod() {
    return 0;
  }

  /** The cluster keeps the process alive, as long as it runs. */
  ref() {}
  unref() {}

  /** Node closes the handle; the server has closed when the cluster has. @param {() => void} [callback] */
  close(callback) {
    if (callback) process.nextTick(callback);
    // Node says 'close' when the last connection has gone.
    const closed = runtime.holdClose(this.server);
    this.role.release(this).then(closed);
  }

  /** The cluster has ended without it. */
  end() {
    if (runtime.handleOf(this.server) === this) this.server.close();
  }
}

/**
 * Lets the cluster serve in place of a server that begins to listen.
 *
 * @param {any} server
 * @param {any} role the primary's
 * @param {object | null} address as the core names it; null where each worker listens by itself
 * @param {{ backlog: number, mode: number }} options
 * @param {import('../process/listen-address').Target} target
 * @param {(handle: any) => void} use gives Node the handle, once the cluster serves there
 */
function hold(server, role, address, options, target, use) {
  const held = new HeldServer(server, role);
  runtime.setHandle(server, held);
  if (address === null && target.port !== null && target.port > 0) held.at(target.host ?? '::', target.port);
  role.hold(held, address, options).then(
    () => {
      if (runtime.handleOf(server) !== held) return;
      // Node closes a handle that is there already.
      runtime.setHandle(server, null);
      use(held);
    },
    (/** @type {any} */ error) => {
      if (runtime.handleOf(server) !== held) return;
      runtime.setHandle(server, null);
      const details = coreOf(error)?.details;
      // Of this address, not of what else a start needs (a port of the monitoring API).
      const isOfAddress = details?.errno && 'host' in details;
      const shown = isOfAddress ? listenError(details.errno, target.host ?? details.host, target.port) : error;
      process.nextTick(() => server.emit('error', shown));
    },
  );
}

module.exports = { hold };
