// @ts-check
'use strict';

// The primary's notifications to this worker, and which part of it acts on each.

const { addon, constants } = require('../native');
const { diagnose } = require('./diagnostics');
const { hintAtStart } = require('./startup-hint');

/** After the primary was killed: time for what is nearly done. Its orphans are gone within two seconds. Milliseconds. */
const GRACE_AFTER_DEATH = 1000;

/** @type {Record<keyof import('../../binding').Notifications, (worker: import('./worker').Worker, number: number) => void>} */
const handlers = {
  // The deadline of a drain is the primary's (and the kernel's) to hold.
  drain: ({ drain }) => drain.begin(addon.workerDrain()),
  timeUp: ({ drain }) => drain.cut(),
  unready(worker) {
    worker.isUnready = true;
  },
  shutdownNotice(worker, deadlineMs) {
    worker.orphan();
    worker.drain.begin({ deadlineMs, handoff: false, signal: null });
  },
  gone(worker) {
    worker.orphan();
    worker.drain.hurry(GRACE_AFTER_DEATH);
  },
  closeServer: ({ connections }, group) => void connections.shares.get(group)?.server.close(),
  rebalance: ({ connections }, count) => connections.rebalance(count),
  commandResult: ({ commands }, id) => commands.finish(id),
  event: ({ events }) => events.publish(),
  lead: ({ leadership }, leads) => void leadership.set(leads === 1),
  check: ({ healthChecks }) => healthChecks.run(),
  diagnose: () => diagnose(),
  late: hintAtStart,
};

/**
 * Calls the handler of each notification.
 *
 * @param {import('./worker').Worker} worker
 * @returns {(kind: number, number: number) => void}
 */
function notificationHandler(worker) {
  const { notifications: kinds } = /** @type {import('../../binding').Constants} */ (constants);
  /** @type {((number: number) => void)[]} by kind */
  const byKind = [];
  for (const [name, kind] of Object.entries(kinds)) byKind[kind] = (number) => handlers[/** @type {keyof typeof kinds} */ (name)](worker, number);
  return (kind, number) => byKind[kind](number);
}

module.exports = { notificationHandler };
