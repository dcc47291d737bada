// @ts-check
'use strict';

// Whose the listeners of a signal are. A listener of the program's says that the program handles the signal; drover's
// own do not, and neither do those of the package signal-exit, which only wants to know that the process ends.

const { signalListener } = require('../symbols').shared;

/** Signals that signal-exit listens to, among those that drover has to do with. */
const WATCHED = new Set(['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR2']);

/** @template {Function} F @param {F} listener @returns {F} */
function own(listener) {
  return Object.assign(listener, { [signalListener]: true });
}

/** How many listeners signal-exit (version 3 and 4) has put on each of its signals: it counts them itself. */
function watchers() {
  const counts = [
    /** @type {any} */ (process).__signal_exit_emitter__?.count,
    /** @type {any} */ (globalThis)[Symbol.for('signal-exit emitter')]?.count,
  ];
  return counts.reduce((sum, count) => sum + (Number.isInteger(count) ? count : 0), 0);
}

/**
 * The listeners with which the program handles the signal, in their order; none where all others only watch. (Called
 * beside drover's own, signal-exit's do nothing.)
 *
 * @param {NodeJS.Signals} signal
 * @returns {Function[]} a listener for once takes itself off when it is called
 */
function handlersOf(signal) {
  // A runner (tsx) hides its own from those who ask as programs do.
  const shown = process.listeners(signal);
  const isShown = (/** @type {any} */ listener) => shown.includes(listener.listener ?? listener);
  const others = process.rawListeners(signal).filter((listener) => !(signalListener in listener) && isShown(listener));
  const watching = WATCHED.has(signal) ? watchers() : 0;
  return others.length > watching ? others : [];
}

/**
 * The handlers among them that are about the process's end alone, however it comes: the program wants them called at
 * 'beforeExit' as well, as OpenTelemetry's `register` does. They clean up and end nothing.
 *
 * @param {NodeJS.Signals} signal
 */
function cleanersOf(signal) {
  const atEnd = process.listeners('beforeExit');
  return handlersOf(signal).filter((/** @type {any} */ handler) => atEnd.includes(handler.listener ?? handler));
}

module.exports = { cleanersOf, handlersOf, own };
