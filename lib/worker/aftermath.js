// @ts-check
'use strict';

// Work that requests have begun and that continues after the last response. A draining worker waits for it. A program that
// handles no signal would end at once as a single process. So if a signal stops the cluster, a worker of such a program
// waits for nothing else: not for resources that existed before the first connection, and for nothing at all if its last
// work ended at least `lingerTimeout` ago.

const runtime = require('../runtime');
const { hasAsked, isAnswering, silentSince } = require('../http/connections');

class Aftermath {
  /** The resources that kept the event loop alive before the first connection, counted by kind. @type {Record<string, number> | null} */
  #before = null;

  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
  }

  /** The first connection has come, and no server has it yet. */
  begin() {
    this.#before ??= resources();
  }

  /** Whether there are no more resources of any kind than before the first connection. */
  get isOver() {
    const before = this.#before;
    return runtime.seesResources && before !== null && Object.entries(resources()).every(([kind, count]) => count <= (before[kind] ?? 0));
  }

  /**
   * The time of the worker's last work, milliseconds of `performance.now()`: `now` if it still has work, or if that is
   * unknown. A program that handles messages or datagrams may have begun work at any time.
   *
   * @param {number} now
   */
  lastWork(now) {
    const { connections, datagrams, messages, virtualListeners } = this.worker;
    if (messages.isListening || (datagrams?.open.size ?? 0) > 0) return now;
    const ends = connections.servers().map((server) => {
      const share = connections.shareOf(server);
      return share === undefined ? now : lastWorkOf(server, virtualListeners?.lastWork(server, now) ?? share.tally.lastEnd, now);
    });
    return Math.max(-Infinity, ...ends);
  }
}

/** @param {any} server @param {number} lastEnd of a connection @param {number} now */
function lastWorkOf(server, lastEnd, now) {
  let last = lastEnd;
  let silent = 0;
  for (const { socket } of runtime.connectionsOf(server)?.all() ?? []) {
    if (!socket || isAnswering(socket) || !hasAsked(socket)) return now;
    last = Math.max(last, silentSince(socket));
    silent += 1;
  }
  // The other connections use another protocol.
  return silent < runtime.connectionCount(server) ? now : last;
}

/** The resources that keep the event loop alive, counted by kind. */
function resources() {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const kind of runtime.activeResources()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

module.exports = { Aftermath, resources };
