// @ts-check
'use strict';

// Signals. The primary leads: a stop is its word to the workers. A service manager may send SIGTERM to every
// process of a group at once; a worker without handlers of its user's ignores it while there is a primary.

/** Handlers besides drover's own are the user's, and they replace it. @param {NodeJS.Signals} signal */
function isUsers(signal) {
  return process.listenerCount(signal) > 1;
}

/** @param {import('./worker').Worker} worker */
function waitForPrimary(worker) {
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP'])) {
    process.on(signal, () => {
      if (signal === 'SIGTERM') worker.terminated = true;
      worker.signalled = true;
      // What the primary wants it says on its channel, also when the time to drain is over. (Its word and a
      // signal to the whole group come in any order.)
      if (!isUsers(signal) && worker.orphaned) process.exit(0);
    });
  }
}

/** A signal again so soon is the same key press: npm and timeout(1) pass on what the terminal has sent already. */
const SAME_PRESS = 500;

/**
 * What SIGTERM and SIGINT do unless the program handles them: the first one stops in order, a second one at once.
 *
 * @param {(graceful: boolean) => Promise<unknown>} stop
 * @param {(signal: NodeJS.Signals) => boolean} [inOrder] whether the first one does
 */
function ending(stop, inOrder = () => true) {
  let firstAt = 0;
  return (/** @type {NodeJS.Signals} */ signal) => {
    if (isUsers(signal)) return;
    const again = firstAt !== 0 && performance.now() - firstAt > SAME_PRESS;
    if (firstAt !== 0 && !again) return;
    firstAt ||= performance.now();
    stop(!again && inOrder(signal)).then(() => process.exit(0));
  };
}

/** What a process without a cluster serves and stops in order. @type {{ stop: () => Promise<void>, timeout: number }[]} */
const alone = [];

/**
 * A process without a cluster stops in order at SIGTERM and SIGINT, all that it serves at the same time.
 *
 * @param {() => Promise<void>} stop
 * @param {number} timeout milliseconds in which it is to be done; then the process exits as it is
 */
function stopAtSignals(stop, timeout) {
  alone.push({ stop, timeout });
  if (alone.length > 1) return;
  const end = ending(stopAlone);
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) process.prependListener(signal, () => end(signal));
}

/** @param {boolean} graceful */
async function stopAlone(graceful) {
  if (!graceful) return;
  setTimeout(() => process.exit(0), Math.max(...alone.map(({ timeout }) => timeout)));
  await Promise.all(alone.map(({ stop }) => stop()));
}

/** Whether somebody sits at a terminal whose end would be a SIGHUP. */
function hasTerminal() {
  try {
    require('node:fs').closeSync(require('node:fs').openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/**
 * Signals that ask for new workers. nodemon has its own use for SIGUSR2 in development, and where there is a
 * terminal SIGHUP is its end.
 *
 * @param {boolean} development
 * @returns {NodeJS.Signals[]}
 */
function rollSignals(development) {
  return [...(development ? [] : /** @type {const} */ (['SIGUSR2'])), ...(hasTerminal() ? [] : /** @type {const} */ (['SIGHUP']))];
}

/**
 * The primary's own handling of SIGTERM and SIGINT, and of those that ask for a rolling restart.
 *
 * @param {{ signalled(): void, stop(graceful: boolean): Promise<void>, roll(): void, development: boolean }} cluster
 * @returns {() => void} takes the handlers off again
 */
function heedSignals(cluster) {
  const end = ending((graceful) => cluster.stop(graceful), (signal) => !(signal === 'SIGINT' && cluster.development));
  /** @type {[NodeJS.Signals, () => void][]} */
  const handlers = /** @type {const} */ (['SIGTERM', 'SIGINT']).map((signal) => [
    signal,
    () => {
      cluster.signalled();
      end(signal);
    },
  ]);
  for (const signal of rollSignals(cluster.development)) {
    handlers.push([signal, () => isUsers(signal) || cluster.roll()]);
  }
  // Before the user's: a `once` of theirs is off the list by the time that it runs.
  for (const [signal, handler] of handlers) process.prependListener(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
  };
}

module.exports = { heedSignals, stopAtSignals, waitForPrimary };
