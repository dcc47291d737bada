// @ts-check
'use strict';

// Leaving: a worker that drains takes nothing new, finishes what it has, and exits. The primary holds the
// deadline and sends SIGTERM and SIGKILL when it passes.

const { listOf } = require('./connections');
const { closeWebSockets, endSessions, hasSessions } = require('./farewell');
const { addon } = require('./native');
const { runHooks } = require('./shutdown');

/** A program's own SIGTERM handler has so long to end the process, milliseconds. */
const LAST_WORDS = 5000;

/** WebSockets that end by themselves in this time need not be told that their worker leaves, milliseconds. */
const LINGER = 2500;

/** Between two looks whether requests are left, milliseconds. */
const LOOK_EVERY = 50;

class Drain {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.begun = false;
    this.timeIsUp = false;
    /** Others can have the connections. */
    this.handoff = true;
    /** Ends the drain whatever is still open. */
    this.cut = () => {};
    /** @type {Promise<void>} */
    this.over = new Promise((resolve) => {
      this.cut = () => {
        this.timeIsUp = true;
        resolve();
      };
    });
    /** @type {Promise<void> | null} */
    this.done = null;
  }

  /** Drains because the program said so: the primary is to send for another. @returns {Promise<void>} */
  leave() {
    if (!this.begun) addon.workerLeaving(this.worker.signalled);
    return this.run();
  }

  /** Drains and then exits with 0. */
  begin() {
    if (this.begun) return;
    this.run().then(() => this.end());
  }

  /**
   * The process ends. A program that handles SIGTERM said how it wants to: as if the signal had come, now that
   * nothing of drover's is left to do. (When the time is up it does come.) It need not exit itself.
   */
  end() {
    if (process.listenerCount('SIGTERM') === 1) {
      setImmediate(() => process.exit(0));
      return;
    }
    if (!this.timeIsUp && !this.worker.terminated) process.emit('SIGTERM', 'SIGTERM');
    setTimeout(() => process.exit(0), LAST_WORDS).unref();
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
    this.done ??= Promise.race([this.close(), this.over]).then(() => runHooks());
    return this.done;
  }

  async close() {
    this.begun = true;
    const since = performance.now();
    const servers = [...this.worker.doors.values()].map((door) => door.server);
    // What the primary has given and the loop has not taken yet is still this worker's.
    addon.workerTakeWhatWaits();
    const closed = Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    servers.forEach(endSessions);
    await this.requests(servers, closed);
    await this.worker.leadership.done();
    await runHooks();
    const lingered = new Promise((resolve) => setTimeout(resolve, LINGER - (performance.now() - since)));
    await Promise.race([closed, lingered]);
    servers.forEach(closeWebSockets);
    await closed;
  }

  /**
   * Resolves when the last request is answered: nothing is open, or only what has left HTTP behind.
   *
   * @param {any[]} servers
   * @param {Promise<unknown>} closed
   */
  async requests(servers, closed) {
    /** @type {NodeJS.Timeout | undefined} */
    let look;
    const answered = new Promise((/** @type {(_: void) => void} */ resolve) => {
      look = setInterval(() => {
        if (servers.every((server) => listOf(server)?.all().length === 0 && !hasSessions(server))) resolve();
      }, LOOK_EVERY);
    });
    await Promise.race([closed, answered]);
    clearInterval(look);
  }
}

module.exports = { Drain };
