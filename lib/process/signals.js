// @ts-check
'use strict';

// Signals of a primary, and of a process without a cluster. The first SIGTERM or SIGINT stops in order what runs here, a
// second one at once; SIGUSR2 and SIGHUP ask for new workers. A program that handles a signal itself replaces that.

const { addon } = require('../native');
const { cleanersOf, handlersOf, own } = require('./signal-listeners');
const { shared } = require('../symbols');
const { waitedFor } = require('./shutdown-hooks');

/** A signal again so soon is the same key press: npm and timeout(1) pass on what the terminal has sent already. Milliseconds. */
const SAME_PRESS_INTERVAL = 500;
/** SIGUSR2 again so soon means: stop (outside production, where watchers use it for that). Milliseconds. */
const SECOND_ROLL_INTERVAL = 5000;
/** Where a developer waits for the end, a stop takes no longer than this, milliseconds. */
const HURRIED_TIMEOUT = 1000;

/** Whether a developer waits: in development, or under a tool that restarts the program with each save. */
function isHurried() {
  return process.env.NODE_ENV === 'development' || addon?.isWatched() === true;
}

/**
 * Something that runs in this process and stops at a signal.
 *
 * @typedef {object} Stoppable
 * @property {(graceful: boolean, limit?: number) => Promise<unknown>} stop `limit`: milliseconds, where the configured
 *   time is longer
 * @property {(signal: NodeJS.Signals) => void} [signalled] a signal came that asks the process to stop
 * @property {() => Promise<unknown>} [roll] new workers; never rejects
 * @property {boolean} [isHurried] a developer waits
 * @property {boolean} [isAbrupt] SIGINT ends it at once: in development
 * @property {number} [lingerTimeout] what the program cleans up at a signal may take so long once all has stopped, milliseconds
 * @property {number} [handlerTimeout] a handler of the program's that has stopped nothing after so long is reported, milliseconds
 * @property {(text: string) => void} [warn]
 */

/** @type {Set<Stoppable>} */
const running = new Set();

/** Stops under way in this process, those of another copy of the package too: all are waited for. @type {Set<Promise<unknown>>} */
const stops = (/** @type {any} */ (globalThis)[shared.stops] ??= new Set());

/** drover's listeners that are on. @type {Map<NodeJS.Signals, () => void>} */
const listeners = new Map();

let firstAt = 0;
let rolledAt = -Infinity;
let isRolling = false;

/** Whether somebody sits at a terminal whose end would be a SIGHUP. */
function hasTerminal() {
  try {
    require('node:fs').closeSync(require('node:fs').openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** What each signal does that something here is about. @returns {[NodeJS.Signals, () => unknown][]} */
function reactions() {
  if (running.size === 0) return [];
  /** @type {[NodeJS.Signals, () => unknown][]} */
  const wanted = [['SIGTERM', () => ask('SIGTERM')], ['SIGINT', () => ask('SIGINT')]];
  if (![...running].some((one) => one.roll !== undefined)) return wanted;
  wanted.push(['SIGUSR2', () => handlersOf('SIGUSR2').length > 0 || userSignal()]);
  if (!hasTerminal()) wanted.push(['SIGHUP', () => handlersOf('SIGHUP').length > 0 || roll()]);
  return wanted;
}

/** Listens to the signals that what runs here is about, and to no other. */
function listen() {
  const wanted = new Map(reactions());
  for (const [signal, listener] of listeners) {
    if (wanted.has(signal)) continue;
    process.removeListener(signal, listener);
    listeners.delete(signal);
  }
  for (const [signal, react] of wanted) {
    if (listeners.has(signal)) continue;
    const listener = own(() => void react());
    listeners.set(signal, listener);
    // Before the program's: a `once` of its is off the list by the time that it runs.
    process.prependListener(signal, listener);
  }
}

/** SIGTERM or SIGINT has come. @param {'SIGTERM' | 'SIGINT'} signal */
function ask(signal) {
  for (const one of running) one.signalled?.(signal);
  const cleaners = cleanersOf(signal);
  if (handlersOf(signal).length > cleaners.length) return remind(signal);
  const again = firstAt !== 0 && performance.now() - firstAt > SAME_PRESS_INTERVAL;
  if (firstAt !== 0 && !again) return;
  firstAt ||= performance.now();
  end(again, { isInterrupt: signal === 'SIGINT', isCleaning: cleaners.length > 0 });
}

/** The program handles the signal. Whether it has stopped anything is seen later. @param {NodeJS.Signals} signal */
function remind(signal) {
  for (const one of running) {
    if (one.warn === undefined || one.handlerTimeout === undefined) continue;
    const { handlerTimeout, warn } = one;
    const look = () => {
      if (!running.has(one) || stops.size > 0) return;
      warn(
        `${signal} was left to the program's own handler, which has neither stopped the cluster nor exited in ${handlerTimeout} ms. ` +
          'To stop it call stopCluster() (of a ClusterManager: stop()) in the handler; without the handler drover stops it in order.',
      );
    };
    setTimeout(look, handlerTimeout).unref();
  }
}

/**
 * Everything stops, then the process. What the program's own handlers clean up nobody is told of: the event loop gets
 * empty when it is done.
 *
 * @param {boolean} isForced
 * @param {{ isInterrupt?: boolean, isCleaning?: boolean }} [how]
 */
async function end(isForced, { isInterrupt = false, isCleaning = false } = {}) {
  const lingerTimes = [...running].map((one) => Math.min(one.lingerTimeout ?? 0, one.isHurried ? HURRIED_TIMEOUT : Infinity));
  for (const one of running) {
    const isGraceful = !isForced && !(isInterrupt && one.isAbrupt);
    track(one.stop(isGraceful, isGraceful && one.isHurried ? HURRIED_TIMEOUT : undefined));
  }
  while (stops.size > 0) await Promise.allSettled(stops);
  if (!isForced) await waitedFor();
  if (isForced || !isCleaning) process.exit(0);
  process.exitCode = 0;
  setTimeout(() => process.exit(), Math.max(...lingerTimes)).unref();
}

/** @param {Promise<unknown>} stop */
function track(stop) {
  stops.add(stop);
  const forget = () => stops.delete(stop);
  stop.then(forget, forget);
}

/** New workers for every cluster of this process. */
async function roll() {
  rolledAt = performance.now();
  isRolling = true;
  await Promise.all([...running].map((one) => one.roll?.()));
  isRolling = false;
}

/** SIGUSR2: nodemon ends a program with it, others ask for new workers. */
function userSignal() {
  const isHurried = [...running].some((one) => one.isHurried);
  const again = isRolling || performance.now() - rolledAt < SECOND_ROLL_INTERVAL;
  if (isHurried || (again && process.env.NODE_ENV !== 'production')) return end(false);
  return roll();
}

/**
 * From now on signals stop this, until the function that is returned is called.
 *
 * @param {Stoppable} stoppable
 */
function followSignals(stoppable) {
  running.add(stoppable);
  listen();
  return () => {
    running.delete(stoppable);
    listen();
    if (running.size === 0) firstAt = 0;
  };
}

/**
 * A process without a cluster stops in order at SIGTERM and SIGINT.
 *
 * @param {() => Promise<void>} stop
 * @param {number} timeout milliseconds in which it is to be done; then the process exits as it is
 */
function stopAtSignals(stop, timeout) {
  followSignals({
    isHurried: isHurried(),
    lingerTimeout: timeout,
    stop(graceful, limit = timeout) {
      if (!graceful) return Promise.resolve();
      setTimeout(() => process.exit(0), Math.min(limit, timeout));
      return stop();
    },
  });
}

module.exports = { followSignals, isHurried, stopAtSignals, track };
