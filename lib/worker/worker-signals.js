// @ts-check
'use strict';

// A worker's signals. The primary leads: a stop is its word. A service manager may send a signal to every process of a
// group at once; a worker whose program does not handle it ignores it while there is a primary.

const { rethrow } = require('../errors');
const { PendingWork } = require('../process/pending-work');
const { handlersOf, own } = require('../process/signal-listeners');
const runtime = require('../runtime');

const SIGNALS = /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP']);

/** Signals whose handlers end a program, in the order in which they are looked for. @type {NodeJS.Signals[]} */
const ENDING = ['SIGTERM', 'SIGINT'];

class WorkerSignals {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** A signal has come that ends processes. */
    this.signalled = false;
    /** The program's handlers were called: by a signal, or by the drain. */
    this.called = false;
    /** The program has handlers of signals that end it. */
    this.isHandled = false;
    /** What the handlers have begun. */
    this.work = new PendingWork();
  }

  /** Signals come by way of `deliver`, so that one that the drain has stood for already is not delivered once more. */
  listen() {
    const listenerOf = (/** @type {NodeJS.Signals} */ signal) => own(() => this.onSignal(signal));
    runtime.listenThrough(SIGNALS, listenerOf, (signal, args) => this.deliver(signal, args));
  }

  /** A signal has come. @param {NodeJS.Signals} signal @param {any[]} args */
  deliver(signal, args) {
    const emit = () => Reflect.apply(process.emit, process, [signal, ...args]);
    if (handlersOf(signal).length === 0) return emit();
    this.signalled = true;
    if (!ENDING.includes(signal)) return emit();
    if (this.called && this.worker.drain.begun) return true;
    this.called = true;
    this.isHandled = true;
    return this.work.runWithWaiting(emit);
  }

  /** What the primary wants it says on its channel. (Its word and a signal to a whole group come in any order.) */
  onSignal(/** @type {NodeJS.Signals} */ signal) {
    this.signalled = true;
    if (this.worker.orphaned && handlersOf(signal).length === 0) process.exit(0);
  }

  /**
   * Calls the program's handlers once, as the signal would have: those of `signal`, or those of the other that ends
   * programs where it has none.
   *
   * @param {NodeJS.Signals | null} signal
   */
  call(signal) {
    if (this.called) return;
    this.called = true;
    for (const name of signal === null ? ENDING : [signal, ...ENDING]) {
      const handlers = handlersOf(name);
      if (handlers.length === 0) continue;
      this.isHandled = true;
      const { [name]: number } = require('node:os').constants.signals;
      return this.work.runWithWaiting(() => handlers.forEach((handler) => callOne(handler, name, number)));
    }
  }
}

/** An error of one handler is uncaught, as it would be had the signal come, and keeps no other from its work. */
function callOne(/** @type {Function} */ handler, /** @type {string} */ name, /** @type {number} */ number) {
  try {
    Reflect.apply(handler, process, [name, number]);
  } catch (error) {
    process.nextTick(rethrow, error);
  }
}

module.exports = { WorkerSignals };
