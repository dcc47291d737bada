// @ts-check
'use strict';

// Leaving: a worker that drains takes nothing new, finishes what it has, and exits. The primary holds the
// deadline and sends SIGTERM and SIGKILL when it passes.

const http = require('node:http');
const { SILENCE, listOf } = require('./idle');
const { addon } = require('./native');

/** Between two looks for connections that have become idle, milliseconds. */
const LOOK_EVERY = 50;

class Drain {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.begun = false;
    /** Ends the drain whatever is still open. */
    this.cut = () => {};
    /** @type {Promise<void> | null} */
    this.done = null;
  }

  /** Drains because the program said so: the primary is to send for another. @returns {Promise<void>} */
  leave() {
    if (!this.begun) addon.workerLeaving();
    return this.run();
  }

  /** Drains and then exits with 0. */
  begin() {
    if (!this.begun && this.worker.doors.size === 0 && process.listenerCount('SIGTERM') > 1) {
      // Nothing of drover's to finish, but the program said how it wants to end.
      this.begun = true;
      process.emit('SIGTERM', 'SIGTERM');
      return;
    }
    const drained = this.run();
    drained.then(() => setImmediate(() => process.exit(0)));
  }

  /** The primary was killed: what can be finished at once is, then out. @param {number} grace milliseconds */
  hurry(grace) {
    if (this.begun) return;
    this.begin();
    setTimeout(() => process.exit(0), grace);
  }

  /**
   * Closes every server and resolves when their connections are gone, or when the time to drain is over.
   *
   * @returns {Promise<void>}
   */
  run() {
    this.done ??= Promise.race([this.close(), new Promise((/** @type {(_: void) => void} */ over) => (this.cut = over))]);
    return this.done;
  }

  async close() {
    this.begun = true;
    const servers = [...this.worker.doors.values()].map((door) => door.server);
    // What the primary has given and the loop has not taken yet is still this worker's.
    addon.workerTakeWhatWaits();
    const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
    const since = performance.now();
    const look = setInterval(() => servers.forEach((server) => closeIdle(server, since)), LOOK_EVERY);
    servers.forEach(lastResponses);
    await Promise.all(closed);
    clearInterval(look);
  }
}

/** Responses under way whose headers are not out yet tell their client that they are the last. */
function lastResponses(/** @type {any} */ server) {
  for (const parser of listOf(server)?.active() ?? []) {
    const response = parser.socket?._httpMessage;
    if (response && !response.headersSent) response.shouldKeepAlive = false;
  }
}

/** @param {any} server @param {number} since when the drain began */
function closeIdle(server, since) {
  if (!(server instanceof http.Server) && typeof server.closeIdleConnections !== 'function') return;
  server.closeIdleConnections();
  if (performance.now() - since < SILENCE) return;
  for (const parser of listOf(server)?.all() ?? []) {
    if (parser.socket?.bytesRead === 0) parser.socket.destroy();
  }
}

module.exports = { Drain };
