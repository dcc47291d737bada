// @ts-check
'use strict';

// Counts the connections of one server of a worker, over all the times that it listens: how many were opened and how
// many have ended, which the primary reads in shared memory.

const { CLOCK, CLOSED } = require('../metrics/cells');
const runtime = require('../runtime');

class ServerTally {
  /** @param {Float64Array} cells @param {any} server */
  constructor(cells, server) {
    this.cells = cells;
    this.server = server;
    /** Opened connections. */
    this.opened = 0;
    /** Opened connections that were counted as ended. */
    this.closed = 0;
    /** When the last of them ended, milliseconds of `performance.now()`. */
    this.lastEnd = -Infinity;
    /** The share through which they arrive now. @type {import('./listener-share').ListenerShare | null} */
    this.share = null;
    runtime.onConnectionEnd(server, () => {
      this.update();
      if (this.share !== null && this.share.credit !== null) this.share.updateConnectionLimit();
    });
  }

  /** Brings the shared count of ended connections up to date: opened and no longer in the server. */
  update() {
    const closed = this.opened - runtime.connectionCount(this.server);
    if (closed !== this.closed) {
      this.cells[CLOSED] += closed - this.closed;
      this.closed = closed;
      this.lastEnd = this.cells[CLOCK] || (this.cells[CLOCK] = performance.now());
    }
  }
}

/** @type {WeakMap<object, ServerTally>} */
const tallies = new WeakMap();

/** @param {Float64Array} cells @param {any} server */
function tallyOf(cells, server) {
  const tally = tallies.get(server) ?? new ServerTally(cells, server);
  tallies.set(server, tally);
  return tally;
}

module.exports = { tallyOf };
