// @ts-check
'use strict';

// Signals of a worker. Only the primary decides about a stop. A service manager may send a signal to every process of a
// group at once; a worker whose program does not handle it ignores it while there is a primary.

const { rethrow } = require('../errors');
const { PendingWork } = require('../process/pending-work');
const { handlersOf, own } = require('../process/signal-listeners');
const runtime = require('../runtime');

const SIGNALS = /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP']);

/** Signals whose handlers end a program, in the order of preference. @type {NodeJS.Signals[]} */
const ENDING = ['SIGTERM', 'SIGINT'];

class WorkerSignals {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** A signal that ends processes has arrived. */
    this.signalled = false;
    /** The program's handlers have been called, by a signal or by the drain. */
    this.called = false;
    /** The program has handlers of signals that end it. */
    this.isHandled = false;
    /** Pending work that the handlers have started. */
    this.work = new PendingWork();
  }

  /** Signals go through `deliver`, so that the drain and a signal do not call the handlers twice. */
  listen() {
    const listenerOf = (/** @type {NodeJS.Signals} */ signal) => own(() => this.onSignal(signal));
    runtime.listenThrough(SIGNALS, listenerOf, (signal, args) => this.deliver(signal, args));
  }

  /**
   * Handles a signal; returns like `process.emit`.
   *
   * @param {NodeJS.Signals} signal
   * @param {any[]} args
   */
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

  /**
   * Without handlers a signal is ignored: the primary sends its commands on the control channel. (A command and a
   * signal to the whole group arrive in any order.)
   */
  onSignal(/** @type {NodeJS.Signals} */ signal) {
    this.signalled = true;
    if (this.worker.orphaned && handlersOf(signal).length === 0) process.exit(0);
  }

  /**
   * Calls the program's handlers once, as the signal would have done: those of `signal`, or, if it has none, those of
   * the other signal that ends programs.
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

/** An error of one handler is an uncaught exception, as with a real signal, and does not stop the others. */
function callOne(/** @type {Function} */ handler, /** @type {string} */ name, /** @type {number} */ number) {
  try {
    Reflect.apply(handler, process, [name, number]);
  } catch (error) {
    process.nextTick(rethrow, error);
  }
}

module.exports = { WorkerSignals };
