// @ts-check
'use strict';

// Classifies the listeners of a signal. A listener of the program means that the program handles the signal; drover's
// own do not count, nor do those of the package signal-exit, which only observes the end of the process.

const { signalListener } = require('../symbols').shared;

/** Signals that signal-exit listens to, among those that drover handles. */
const WATCHED = new Set(['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR2']);

/** @template {Function} F @param {F} listener @returns {F} */
function own(listener) {
  return Object.assign(listener, { [signalListener]: true });
}

/** How many listeners signal-exit (version 3 and 4) has added to each of its signals, by its own count. */
function watchers() {
  const counts = [
    /** @type {any} */ (process).__signal_exit_emitter__?.count,
    /** @type {any} */ (globalThis)[Symbol.for('signal-exit emitter')]?.count,
  ];
  return counts.reduce((sum, count) => sum + (Number.isInteger(count) ? count : 0), 0);
}

/**
 * The program's handlers of the signal, in order; empty if all others only observe. (signal-exit's listeners do nothing
 * when they are called in addition to drover's.)
 *
 * @param {NodeJS.Signals} signal
 * @returns {Function[]} a `once` listener removes itself when it is called
 */
function handlersOf(signal) {
  // A runner (tsx) hides its own listeners from `process.listeners`.
  const shown = process.listeners(signal);
  const isShown = (/** @type {any} */ listener) => shown.includes(listener.listener ?? listener);
  const others = process.rawListeners(signal).filter((listener) => !(signalListener in listener) && isShown(listener));
  const watching = WATCHED.has(signal) ? watchers() : 0;
  return others.length > watching ? others : [];
}

/**
 * Those handlers that only clean up at the end of the process: the program has also added them to 'beforeExit', as
 * OpenTelemetry's `register` does. They do not end the process.
 *
 * @param {NodeJS.Signals} signal
 */
function cleanersOf(signal) {
  const atEnd = process.listeners('beforeExit');
  return handlersOf(signal).filter((/** @type {any} */ handler) => atEnd.includes(handler.listener ?? handler));
}

module.exports = { cleanersOf, handlersOf, own };
