// @ts-check
'use strict';

// What a worker's work leaves behind: what goes on when the last response is sent. A draining worker waits for it. A
// program that handles no signal ends at once as one process, so that when a signal stops the cluster there is nothing to
// wait for but that: neither for what was there before the first connection, nor for anything where the last work is
// over for longer than a worker waits.

const runtime = require('../runtime');
const { hasAsked, isAnswering, silentSince } = require('../http/connections');

class Aftermath {
  /** What kept the event loop alive before the first connection came, by kind. @type {Record<string, number> | null} */
  #before = null;

  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
  }

  /** Connections come. */
  begin() {
    this.#before ??= resources();
  }

  /** Whether of no kind there is more than before the first connection. */
  get isOver() {
    const before = this.#before;
    return before !== null && Object.entries(resources()).every(([kind, count]) => count <= (before[kind] ?? 0));
  }

  /**
   * When the worker had something to do for the last time, milliseconds of `performance.now()`: `now` where it has, or where
   * nobody knows. What handles messages or datagrams may always have begun something.
   *
   * @param {number} now
   */
  lastWork(now) {
    const { connections, datagrams, messages } = this.worker;
    if (messages.isListening || (datagrams?.open.size ?? 0) > 0) return now;
    return Math.max(-Infinity, ...connections.servers().map((server) => lastWorkOf(server, connections.shareOf(server), now)));
  }
}

/** @param {any} server @param {import('./listener-share').ListenerShare | undefined} share @param {number} now */
function lastWorkOf(server, share, now) {
  if (share === undefined) return now;
  let last = share.tally.lastEnd;
  let silent = 0;
  for (const { socket } of runtime.connectionsOf(server)?.all() ?? []) {
    if (!socket || isAnswering(socket) || !hasAsked(socket)) return now;
    last = Math.max(last, silentSince(socket));
    silent += 1;
  }
  // The others speak something else.
  return silent < runtime.connectionCount(server) ? now : last;
}

/** What keeps the event loop alive: of each kind how many. */
function resources() {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const kind of runtime.activeResources()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

module.exports = { Aftermath, resources };
