// @ts-check
'use strict';

// Intercepts the point at which `server.listen()` requests its handle.
//
// Relies on: in a worker of node:cluster (`cluster.isPrimary` is false), `listen` parses its arguments, resolves the
// host's name with `dns.lookup`, and then asks `cluster._getServer(server, query, callback)` for a handle, unless the
// program wants a socket of this process only (`exclusive`, `reusePort`, a TCP handle). Node's own workers depend on
// it. So `cluster.isPrimary` is false while an intercepted `listen` runs, and is restored before any code of the
// program runs. (`net.Server.prototype._listen2`, which was replaced for this before, is deprecated:
// docs/decisions/017.)
// Seen on: Node.js 20, 22, 24, 26.

const dns = require('node:dns');
const net = require('node:net');
const { handleOf, isHandle, openHandle } = require('./server-handle');

/** libuv's flag of a bind. */
const IPV6_ONLY = 1;

/** Permission bits of a unix socket's file. */
const READABLE_BY_ALL = 0o444;
const WRITABLE_BY_ALL = 0o222;

/**
 * The address of a server that starts to listen, with its name resolved.
 *
 * @typedef {object} Target
 * @property {string | null} host an address; with port -1 the path of a unix socket; null: every address
 * @property {number | null} port
 * @property {number | null | undefined} fd a descriptor, in place of host and port
 * @property {boolean} ipv6Only
 * @property {number} backlog 0: not given
 * @property {number} mode permission bits that the file of a unix socket gets
 * @property {boolean} exclusive the program wants a socket of this process only
 * @property {boolean} isHandle the descriptor is that of a handle of this process
 */

/**
 * @typedef {object} Interception
 * @property {(server: any) => boolean} wants whether the server's `listen` is intercepted
 * @property {boolean} [takesExclusive] `exclusive` and `reusePort` are intercepted as well
 * @property {(server: any, target: Target, use: (handle: any) => void, fail: (error: Error) => void) => void} take called
 * when the server requests a handle. `use` provides it; the runtime calls the handle's `listen`, then the server emits
 * 'listening'. `fail`: there is none
 * @property {(server: any) => void} [bound] called when the server has a handle that Node created or that the program
 * provided
 */

/** Options of `listen` that the query does not contain. @param {any[]} args */
function wishesOf([first]) {
  const options = first !== null && typeof first === 'object' ? first : {};
  const readable = options.readableAll === true ? READABLE_BY_ALL : 0;
  const writable = options.writableAll === true ? WRITABLE_BY_ALL : 0;
  return {
    mode: readable | writable,
    exclusive: Boolean(options.exclusive) || Boolean(options.reusePort),
    isHandle: isHandle(options),
  };
}

/** The same arguments without `exclusive` and `reusePort`, so that Node still requests a handle. @param {any[]} args */
function withoutExclusive([options, ...rest]) {
  return [{ ...options, exclusive: false, reusePort: false }, ...rest];
}

/**
 * Calls `act`. If it makes a server listen, the server requests its handle from `getServer`, also if a name is looked
 * up first.
 *
 * @template T
 * @param {(server: any, query: any, callback: (error: number, handle: any) => void) => void} getServer
 * @param {() => T} act
 * @param {() => void} after called when `act`, or the callback of a lookup, has returned
 * @returns {T}
 */
function asClusterWorker(getServer, act, after) {
  const cluster = /** @type {any} */ (require('node:cluster'));
  const { isPrimary } = cluster;
  const own = Object.getOwnPropertyDescriptor(cluster, '_getServer');
  const { lookup } = dns;
  let isInside = true;
  const leave = () => {
    if (!isInside) return;
    isInside = false;
    cluster.isPrimary = isPrimary;
    if (own === undefined) delete cluster._getServer;
    else Object.defineProperty(cluster, '_getServer', own);
    /** @type {any} */ (dns).lookup = lookup;
  };
  cluster.isPrimary = false;
  cluster._getServer = (/** @type {any} */ server, /** @type {any} */ query, /** @type {any} */ callback) => {
    leave();
    getServer(server, query, callback);
  };
  /** @type {any} */ (dns).lookup = (/** @type {any[]} */ ...args) => {
    const callback = args.pop();
    const resume = (/** @type {any[]} */ ...results) => asClusterWorker(getServer, () => callback(...results), after);
    return Reflect.apply(lookup, dns, [...args, resume]);
  };
  try {
    const result = act();
    leave();
    after();
    return result;
  } finally {
    leave();
  }
}

/** Intercepts `listen` of the servers for which `wants` is true. @param {Interception} interception */
function interceptListen({ wants, takesExclusive = false, take, bound = () => {} }) {
  const prototype = /** @type {any} */ (net.Server.prototype);
  const { listen } = prototype;
  /** The last known handle of each server. @type {WeakMap<object, any>} */
  const seen = new WeakMap();

  prototype.listen = function (/** @type {any[]} */ ...args) {
    // A server that listens already throws.
    if (handleOf(this) || !wants(this)) return Reflect.apply(listen, this, args);
    const wishes = wishesOf(args);
    const given = takesExclusive && wishes.exclusive ? withoutExclusive(args) : args;

    /** @param {any} server @param {any} query @param {(error: number, handle: any) => void} callback */
    const getServer = (server, query, callback) => {
      const use = (/** @type {any} */ handle) => {
        seen.set(server, handle);
        callback(0, handle);
      };
      const { address, port, fd, flags, backlog } = query;
      const target = { host: address, port, fd, ipv6Only: ((flags ?? 0) & IPV6_ONLY) !== 0, backlog: backlog || 0, ...wishes };
      take(server, target, use, (error) => process.nextTick(() => server.emit('error', error)));
    };
    const look = () => {
      const handle = handleOf(this);
      if (!handle || seen.get(this) === handle) return;
      seen.set(this, handle);
      bound(this);
    };
    return asClusterWorker(getServer, () => Reflect.apply(listen, this, given), look);
  };
}

/** A handle of this process for a descriptor that a program names, created as Node does. @param {number} fd */
function ownHandle(fd) {
  const handle = openHandle(fd);
  return typeof handle === 'number' ? failingHandle(handle) : handle;
}

/**
 * A handle that cannot listen: the server emits Node's error for this errno.
 *
 * @param {number} errno libuv's, negative
 */
function failingHandle(errno) {
  return { listen: () => errno, close() {}, fchmod: () => 0 };
}

module.exports = { interceptListen, ownHandle };
