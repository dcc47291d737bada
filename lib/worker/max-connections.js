// @ts-check
'use strict';

// `server.maxConnections` of a worker's server. Node documents for clusters that a full worker leaves the connection to
// another one, unless `dropMaxConnection` is set. So the primary has to know how many connections a server takes; it is
// notified when the program sets one of the two, and when connections of a full server have ended.

const runtime = require('../runtime');
const symbols = require('../symbols');

/** More than any server can have. */
const MAX_REMAINING = 0x7fffffff;

/**
 * How many more connections a server takes, of a runtime that accepts by itself how many in total (the core subtracts those
 * that are open); null: any number, or the runtime drops the excess.
 *
 * @param {any} server
 */
function remainingConnections(server) {
  const limit = server.maxConnections ?? null;
  if (limit === null || server.dropMaxConnection || (limit === 0 && !runtime.countsZeroLimit)) return null;
  // Like Node's comparison: a value that is not a number is no limit.
  const remaining = Math.ceil(Number(limit)) - (runtime.acceptsItself ? 0 : runtime.connectionCount(server));
  return Number.isNaN(remaining) ? null : Math.min(Math.max(remaining, 0), MAX_REMAINING);
}

/** Observes changes of a limit. @param {import('./worker').Worker} worker */
function followLimits(worker) {
  for (const name of /** @type {const} */ (['maxConnections', 'dropMaxConnection'])) {
    const key = symbols.server[name];
    for (const { prototype } of runtime.serverClasses) Object.defineProperty(prototype, name, {
      configurable: true,
      enumerable: false,
      get() {
        return this[key];
      },
      set(value) {
        Object.defineProperty(this, key, { value, writable: true, configurable: true, enumerable: false });
        worker.connections.shareOf(this)?.updateConnectionLimit();
      },
    });
  }
}

module.exports = { followLimits, remainingConnections };
