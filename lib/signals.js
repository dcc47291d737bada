// @ts-check
'use strict';

// Signals. The primary leads: a stop is its word to the workers. A service manager may send SIGTERM to every
// process of a group at once; a worker without handlers of its user's ignores it until the primary has spoken.

/** Handlers besides drover's own are the user's, and they replace it. @param {NodeJS.Signals} signal */
function isUsers(signal) {
  return process.listenerCount(signal) > 1;
}

/** @param {import('./worker').Worker} worker */
function waitForPrimary(worker) {
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP'])) {
    process.on(signal, () => {
      // After the drain has begun this is the primary's deadline: what is left is cut off.
      if (!isUsers(signal) && worker.drain.begun) process.exit(0);
    });
  }
}

/** A signal again so soon is the same key press: npm and timeout(1) pass on what the terminal has sent already. */
const SAME_PRESS = 500;

/**
 * The primary's own handling of SIGTERM and SIGINT.
 *
 * @param {{ signalled(): void, stop(graceful: boolean): Promise<void>, development: boolean }} cluster
 * @returns {() => void} takes the handlers off again
 */
function stopOnSignals(cluster) {
  let firstAt = 0;
  /** @type {[NodeJS.Signals, () => void][]} */
  const handlers = /** @type {const} */ (['SIGTERM', 'SIGINT']).map((signal) => [
    signal,
    () => {
      cluster.signalled();
      if (isUsers(signal)) return;
      const again = firstAt !== 0 && performance.now() - firstAt > SAME_PRESS;
      if (firstAt !== 0 && !again) return;
      firstAt ||= performance.now();
      const graceful = !again && !(signal === 'SIGINT' && cluster.development);
      cluster.stop(graceful).then(() => process.exit(0));
    },
  ]);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
  };
}

module.exports = { stopOnSignals, waitForPrimary };
