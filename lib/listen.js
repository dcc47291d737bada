// @ts-check
'use strict';

// Every `listen()` of a worker shares the primary's listener. Node has worked out all forms of its arguments,
// and has resolved the name, when it calls `_listen2`; that is where the worker asks the primary instead of
// binding by itself. Errors are Node's own: a handle whose listen() fails makes Node build them.

const http = require('node:http');
const net = require('node:net');
const tls = require('node:tls');
const { Door } = require('./door');
const { socketName } = require('./environment');

/** libuv's flag for `ipv6Only`. */
const IPV6_ONLY = 1;

/** @param {any} server */
function isPlainHttp(server) {
  return server instanceof http.Server && !(server instanceof tls.Server);
}

/** Tells the servers of one worker that listen on port 0 of the same host apart. */
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
 * @param {string | null} host
 * @param {number | null} port -1 for a unix socket
 * @param {number | null | undefined} fd
 * @param {number | undefined} flags
 */
function addressOf(counter, host, port, fd, flags) {
  if (typeof fd === 'number' && fd >= 0) return { kind: 'descriptor', fd };
  if (port === -1) return { kind: 'unix', path: socketName(String(host)) };
  const nth = port === 0 ? counter.next(`tcp ${host ?? ''}`) : 0;
  return { kind: 'tcp', host: host || null, port: port ?? 0, ipv6_only: ((flags ?? 0) & IPV6_ONLY) !== 0, nth };
}

/** @param {number} errno */
function failing(errno) {
  return { listen: () => -errno, close() {} };
}

/** @param {import('./worker').Worker} worker */
function share(worker) {
  const counter = new Counter();
  const prototype = /** @type {any} */ (net.Server.prototype);
  const listen2 = prototype._listen2;

  prototype._listen2 = prototype._setupListenHandle = function listenWithPrimary(
    /** @type {string | null} */ host,
    /** @type {number | null} */ port,
    /** @type {number | null} */ family,
    /** @type {number} */ backlog,
    /** @type {number | undefined} */ fd,
    /** @type {number | undefined} */ flags,
  ) {
    // A handle of the user's own is served as it is.
    if (this._handle) return listen2.call(this, host, port, family, backlog, fd, flags);
    const answer = worker.listen(addressOf(counter, host, port, fd, flags), backlog || 511);
    if (answer.errno === undefined && worker.doors.has(answer.group)) {
      require('./native').addon.closeDescriptor(answer.fd);
      answer.errno = require('node:os').constants.errno.EADDRINUSE;
    }
    if (answer.errno !== undefined) {
      this._handle = failing(answer.errno);
      return listen2.call(this, answer.host ?? host, port, family, backlog, fd, flags);
    }
    const door = new Door(worker, this, answer);
    this._handle = door.handle;
    worker.countStreams(this);
    listen2.call(this, answer.host ?? host, answer.port || port, family, backlog, fd, flags);
    door.open(isPlainHttp(this));
  };
}

module.exports = { share };
