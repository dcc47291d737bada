// @ts-check
'use strict';

// The primary's notifications to this worker and their handlers.

const { addon, constants } = require('../native');
const { diagnose } = require('./diagnostics');
const { runMemoryTasks } = require('./memory-tasks');
const { hintAtStart } = require('./startup-hint');

/**
 * After the primary was killed: time for requests that are nearly done. Orphaned workers end within two seconds.
 * Milliseconds.
 */
const GRACE_AFTER_DEATH = 1000;

/** @type {Record<keyof import('../../binding').Notifications, (worker: import('./worker').Worker, number: number) => void>} */
const handlers = {
  // The primary (and the kernel) enforces the deadline of a drain.
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
  memory: () => runMemoryTasks(),
  admission: (worker) => worker.setAdmission(addon.workerAdmission()),
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
