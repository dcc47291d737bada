// @ts-check
'use strict';

// The address of a server that starts to listen, in the core's form.

const runtime = require('../runtime');

/** @typedef {import('../runtime/node/internals/listen').Target} Target */

/** Numbers the servers of one process that listen on port 0 of the same host. */
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
 * The address in the primary's form.
 *
 * @param {Counter} counter
 * @param {Target} target
 */
function addressOf(counter, { host, port, fd, ipv6Only }) {
  if (typeof fd === 'number' && fd >= 0) return { descriptor: { fd } };
  if (port === -1) return { unix: { path: runtime.socketName(String(host)) } };
  const nth = port === 0 ? counter.next(`tcp ${host ?? ''}`) : 0;
  return { tcp: { host: host || null, port: port ?? 0, ipv6_only: ipv6Only, nth } };
}

module.exports = { Counter, addressOf };
