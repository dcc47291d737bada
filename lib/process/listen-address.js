// @ts-check
'use strict';

// Where a server listens: what Node's `listen` has worked out, as the core names it. Used where `_listen2` is
// replaced, in workers and in a clustered primary.

const { socketName } = require('./environment');

/** libuv's flags of a bind. */
const IPV6_ONLY = 1;
const REUSE_PORT = 2;

/** Permission bits of a unix socket's file. */
const READABLE_BY_ALL = 0o444;
const WRITABLE_BY_ALL = 0o222;

/** What `_listen2` gets, and in place of a name its address. @typedef {{ host: string | null, port: number | null, family: number | null, backlog: number, fd: number | null | undefined, flags: number | undefined }} Place */

/** Tells the servers of one process that listen on port 0 of the same host apart. */
class Counter {
  constructor() {
    /** @type {Map<string, number>} */
    this.counts = new Map();
  }

  /** @param {string} key */
  next(key) {
    const nth = this.counts.get(key) ?? 0;
    this.counts.set(key, nth + 1);
    return nth;
  }
}

/**
 * The address as the primary names it.
 *
 * @param {Counter} counter
 * @param {Place} place its port is -1 for a unix socket
 */
function addressOf(counter, { host, port, fd, flags }) {
  if (typeof fd === 'number' && fd >= 0) return { kind: 'descriptor', fd };
  if (port === -1) return { kind: 'unix', path: socketName(String(host)) };
  const nth = port === 0 ? counter.next(`tcp ${host ?? ''}`) : 0;
  return { kind: 'tcp', host: host || null, port: port ?? 0, ipv6_only: ((flags ?? 0) & IPV6_ONLY) !== 0, nth };
}

/**
 * What a program's `listen` said that `_listen2` is not told, by server. A server that listens is not asked again, and
 * a later `listen` makes an earlier one void whose name is still looked up.
 *
 * @type {WeakMap<object, { exclusive: boolean, mode: number }>}
 */
const asked = new WeakMap();

/** Is this one of Node's own handles, or something that has one? @param {any} value */
function hasHandle(value) {
  const handle = value._handle || value.handle || value;
  return typeof handle.getAsyncId === 'function' && 'fd' in handle;
}

/** Notes what `listen` was asked. @param {any} server @param {any[]} args */
function note(server, args) {
  if (server._handle) return;
  const options = args[0] !== null && typeof args[0] === 'object' ? args[0] : {};
  const readable = options.readableAll === true ? READABLE_BY_ALL : 0;
  const writable = options.writableAll === true ? WRITABLE_BY_ALL : 0;
  // A handle is this process's own, whatever number it has.
  asked.set(server, { exclusive: Boolean(options.exclusive) || hasHandle(options), mode: readable | writable });
}

/** @param {any} server @param {Place} place */
function askedOf(server, { flags }) {
  const { exclusive, mode } = asked.get(server) ?? { exclusive: false, mode: 0 };
  return { exclusive: exclusive || ((flags ?? 0) & REUSE_PORT) !== 0, mode };
}

/**
 * Replaces Node's way from `listen` to a handle: `act` gets the server, where it is to listen, and Node's own way.
 *
 * @param {(server: any, place: Place, proceed: (host?: string | null) => void) => void} act
 */
function replaceListen(act) {
  const prototype = /** @type {any} */ (require('node:net').Server.prototype);
  const { listen, _listen2: listen2 } = prototype;
  prototype.listen = function (/** @type {any[]} */ ...args) {
    note(this, args);
    return listen.apply(this, args);
  };
  prototype._listen2 = prototype._setupListenHandle = function (
    /** @type {string | null} */ host,
    /** @type {number | null} */ port,
    /** @type {number | null} */ family,
    /** @type {number} */ backlog,
    /** @type {number | null | undefined} */ fd,
    /** @type {number | undefined} */ flags,
  ) {
    const proceed = (/** @type {string | null | undefined} */ bound) => {
      // Node names its connections by the address that it listens on, the port as it was asked for.
      const isWildcard = !host && Boolean(bound);
      const kind = isWildcard && bound?.includes(':') ? 6 : family;
      listen2.call(this, isWildcard ? bound : host, port, kind, backlog, fd, flags);
    };
    act(this, { host, port, family, backlog, fd, flags }, proceed);
  };
}

module.exports = { Counter, addressOf, askedOf, replaceListen };
