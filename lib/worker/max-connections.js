// @ts-check
'use strict';

// `server.maxConnections` of a worker's server. Node documents for clusters that a worker that is full leaves the
// connection to another, unless `dropMaxConnection` is set. So the primary has to know how many a server takes: whenever
// the program sets one of the two, and when connections of a full server have ended.

const net = require('node:net');

/** More than any server can have. */
const MAX_ROOM = 0x7fffffff;

/** Until Node.js 20 a limit of 0 is none. */
const countsZero = Number(process.versions.node.split('.')[0]) > 20;

/** How many connections more a server takes; null: as many as come, or Node drops what is too much. @param {any} server */
function roomOf(server) {
  const most = server.maxConnections ?? null;
  if (most === null || server.dropMaxConnection || (most === 0 && !countsZero)) return null;
  // As Node compares: with something that is no number nothing is too much.
  const room = Math.ceil(Number(most)) - server._connections;
  return Number.isNaN(room) ? null : Math.min(Math.max(room, 0), MAX_ROOM);
}

/** Learns of each change of a limit. @param {import('./worker').Worker} worker */
function followLimits(worker) {
  for (const name of ['maxConnections', 'dropMaxConnection']) {
    const key = Symbol(`drover.${name}`);
    Object.defineProperty(net.Server.prototype, name, {
      configurable: true,
      enumerable: false,
      get() {
        return this[key];
      },
      set(value) {
        Object.defineProperty(this, key, { value, writable: true, configurable: true, enumerable: false });
        worker.doorOf(this)?.tellRoom();
      },
    });
  }
}

module.exports = { followLimits, roomOf };
