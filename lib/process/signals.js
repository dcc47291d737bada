// @ts-check
'use strict';

// Signals of a primary, and of a process without a cluster. The first SIGTERM or SIGINT stops everything in this
// process gracefully, a second one immediately; SIGUSR2 and SIGHUP start a rolling restart. A program's own handler of
// a signal replaces this.

const { addon } = require('../native');
const { cleanersOf, handlersOf, own } = require('./signal-listeners');
const { shared } = require('../symbols');
const { waitedFor } = require('./shutdown-hooks');

/**
 * The same signal within this time is the same key press: npm and timeout(1) forward signals that the terminal has
 * already sent. Milliseconds.
 */
const SAME_PRESS_INTERVAL = 500;
/** A second SIGUSR2 within this time means stop (outside production, where watchers use it for that). Milliseconds. */
const SECOND_ROLL_INTERVAL = 5000;
/** Maximum duration of a stop while a developer waits, milliseconds. */
const HURRIED_TIMEOUT = 1000;

/** Whether a developer waits: in development, or under a tool that restarts the program at each change. */
function isHurried() {
  return process.env.NODE_ENV === 'development' || addon?.isWatched() === true;
}

/**
 * Something in this process that stops at a signal.
 *
 * @typedef {object} Stoppable
 * @property {(graceful: boolean, limit?: number) => Promise<unknown>} stop `limit`: maximum for the configured timeout,
 * milliseconds
 * @property {(signal: NodeJS.Signals) => void} [signalled] called when a stop signal has arrived
 * @property {() => Promise<unknown>} [roll] starts a rolling restart; never rejects
 * @property {boolean} [isHurried] a developer waits
 * @property {boolean} [isAbrupt] SIGINT stops it immediately: in development
 * @property {number} [lingerTimeout] maximum time for the program's own clean-up once everything has stopped,
 * milliseconds
 * @property {number} [handlerTimeout] a program's handler that has not stopped the cluster after this time is reported,
 * milliseconds
 * @property {(text: string) => void} [warn]
 */

/** @type {Set<Stoppable>} */
const running = new Set();

/**
 * Pending stops in this process, including those of other copies of the package: the exit waits for all.
 * @type {Set<Promise<unknown>>}
 */
const stops = (/** @type {any} */ (globalThis)[shared.stops] ??= new Set());

/** drover's active listeners. @type {Map<NodeJS.Signals, () => void>} */
const listeners = new Map();

let firstAt = 0;
let rolledAt = -Infinity;
let isRolling = false;

/** Whether this process has a terminal, whose end would send a SIGHUP. */
function hasTerminal() {
  try {
    require('node:fs').closeSync(require('node:fs').openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** The reactions to the signals that are handled now. @returns {[NodeJS.Signals, () => unknown][]} */
function reactions() {
  if (running.size === 0) return [];
  /** @type {[NodeJS.Signals, () => unknown][]} */
  const wanted = [['SIGTERM', () => ask('SIGTERM')], ['SIGINT', () => ask('SIGINT')]];
  if (![...running].some((one) => one.roll !== undefined)) return wanted;
  wanted.push(['SIGUSR2', () => handlersOf('SIGUSR2').length > 0 || userSignal()]);
  if (!hasTerminal()) wanted.push(['SIGHUP', () => handlersOf('SIGHUP').length > 0 || roll()]);
  return wanted;
}

/** Adds and removes listeners so that exactly the needed signals are handled. */
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
    // Before the program's listeners: a `once` listener is no longer listed when it runs.
    process.prependListener(signal, listener);
  }
}

/** Handles SIGTERM or SIGINT. @param {'SIGTERM' | 'SIGINT'} signal */
function ask(signal) {
  for (const one of running) one.signalled?.(signal);
  const cleaners = cleanersOf(signal);
  if (handlersOf(signal).length > cleaners.length) return remind(signal);
  const again = firstAt !== 0 && performance.now() - firstAt > SAME_PRESS_INTERVAL;
  if (firstAt !== 0 && !again) return;
  firstAt ||= performance.now();
  end(again, { isInterrupt: signal === 'SIGINT', isCleaning: cleaners.length > 0 });
}

/** The program handles the signal; reports later if it has not stopped anything. @param {NodeJS.Signals} signal */
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
 * Stops everything, then exits. The clean-up of the program's own handlers cannot be observed: it is done when the
 * event loop is empty.
 *
 * @param {boolean} isForced
 * @param {{ isInterrupt?: boolean, isCleaning?: boolean }} [how]
 */
async function end(isForced, { isInterrupt = false, isCleaning = false } = {}) {
  const lingerTimes = [...running].map((one) => Math.min(one.lingerTimeout ?? 0, one.isHurried ? HURRIED_TIMEOUT : Infinity));
  const begun = [...running].map((one) => {
    const isGraceful = !isForced && !(isInterrupt && one.isAbrupt);
    const stop = one.stop(isGraceful, isGraceful && one.isHurried ? HURRIED_TIMEOUT : undefined);
    track(stop);
    return stop;
  });
  // The stop of the first signal may take its whole time.
  if (isForced) await Promise.allSettled(begun);
  while (!isForced && stops.size > 0) await Promise.allSettled(stops);
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

/** Starts a rolling restart of every cluster of this process. */
async function roll() {
  rolledAt = performance.now();
  isRolling = true;
  await Promise.all([...running].map((one) => one.roll?.()));
  isRolling = false;
}

/** Handles SIGUSR2: nodemon stops a program with it, others request a rolling restart. */
function userSignal() {
  const isHurried = [...running].some((one) => one.isHurried);
  const again = isRolling || performance.now() - rolledAt < SECOND_ROLL_INTERVAL;
  if (isHurried || (again && process.env.NODE_ENV !== 'production')) return end(false);
  return roll();
}

/**
 * Registers something that stops at a signal, until the returned function is called.
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
 * Makes a process without a cluster stop gracefully at SIGTERM and SIGINT.
 *
 * @param {() => Promise<void>} stop
 * @param {number} timeout milliseconds for the stop; then the process exits regardless
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
