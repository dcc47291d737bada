// @ts-check
'use strict';

// A server in the primary that represents the workers' servers: it holds the address and gets no connections. Instead
// of libuv's handle it has a HeldServer, so that everything else is Node's own code: `address()`, `close()`,
// `listening`, errors, the abort signal.

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
    /** Its address, once known. @type {import('node:net').AddressInfo | string | null} */
    this.address = null;
    /**
     * `getsockname` as Node's handles have it; absent before the address is open.
     *
     * @type {((out: any) => number) | undefined}
     */
    this.getsockname = undefined;
  }

  /** @param {any} address in the core's form @param {{ group: number, host: string | null, port: number }} opened */
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

  /** Does nothing: the workers listen. */
  listen() {
    return 0;
  }

  /** The core has done it. */
  fchmod() {
    return 0;
  }

  /** The cluster keeps the process alive as long as it runs. */
  ref() {}
  unref() {}

  /**
   * Called by the server's `close`. Resolves when the cluster has closed the address, which the server's 'close' awaits.
   *
   * @param {() => void} [callback]
   */
  close(callback) {
    if (callback) process.nextTick(callback);
    // Node emits 'close' when the last connection has ended.
    const closed = runtime.holdClose(this.server);
    return this.role.release(this).then(closed);
  }

  /** Closes the server after the cluster has ended. */
  end() {
    if (runtime.handleOf(this.server) === this) this.server.close();
  }
}

/**
 * Makes the cluster serve for a server that starts to listen.
 *
 * @param {any} server
 * @param {any} role the primary's
 * @param {object | null} address in the core's form; null if each worker binds its own socket
 * @param {{ backlog: number, mode: number }} options
 * @param {import('../process/listen-address').Target} target
 * @param {(handle: any) => void} use passes the handle to Node once the cluster serves there
 */
function hold(server, role, address, options, target, use) {
  const held = new HeldServer(server, role);
  runtime.setHandle(server, held);
  if (address === null && target.port !== null && target.port > 0) held.at(target.host ?? '::', target.port);
  role.hold(held, address, options).then(
    () => {
      if (runtime.handleOf(server) !== held) return;
      // Node closes an existing handle.
      runtime.setHandle(server, null);
      use(held);
    },
    (/** @type {any} */ error) => {
      if (runtime.handleOf(server) !== held) return;
      runtime.setHandle(server, null);
      const details = coreOf(error)?.details;
      // Only errors of this address, not of other parts of the start (such as the port of the monitoring API).
      const isOfAddress = details?.errno && 'host' in details;
      const shown = isOfAddress ? listenError(details.errno, target.host ?? details.host, target.port) : error;
      process.nextTick(() => server.emit('error', shown));
    },
  );
}

module.exports = { hold };
