// @ts-check
'use strict';

// Pending work that a part of the program has started: timers, requests to the kernel, promises, sockets. Tracking
// begins with the first call of `run`, because it makes every promise of the process slower.

const { AsyncLocalStorage, createHook } = require('node:async_hooks');
const runtime = require('../runtime');

/**
 * Resource types whose end the runtime reports at once. Others (an AsyncResource, a parser) end when they are
 * garbage-collected.
 */
const REPORTED = /^(?:Timeout|Immediate|TickObject|PROMISE|WORKER|.*REQ(?:UEST|WRAP|CALLBACK|PROMISE)?|(?:TCP|PIPE|PROCESS|QUERY|SHUTDOWN|WRITE|UDPSEND|.*CONNECT)WRAP)$/;

class PendingWork {
  constructor() {
    /** By async id: the resource, or null if only its end matters. @type {Map<number, any>} */
    this.pending = new Map();
    /** @type {AsyncLocalStorage<boolean> | null} */
    this.context = null;
    /** Whether the current code is a continuation of the call that `runWithWaiting` has just made. */
    this.isFollowing = false;
    /** Work was started whose end the runtime does not tell: it is pending until the event loop is empty. */
    this.isUntold = false;
  }

  #watch() {
    const context = new AsyncLocalStorage();
    const end = (/** @type {number} */ id) => this.pending.delete(id);
    createHook({
      init: (id, type, _trigger, resource) => {
        if (!(context.getStore() ?? this.isFollowing) || !REPORTED.test(type)) return;
        // A promise that can never be settled is garbage-collected; a reference here would prevent that.
        this.pending.set(id, type === 'PROMISE' ? null : resource);
      },
      before: (id) => {
        if ((this.isFollowing || this.pending.has(id)) && context.getStore() === undefined) context.enterWith(true);
      },
      // The promise that `await` creates internally is never settled: it has ended when its function continues.
      after: (id) => {
        if (this.pending.get(id) === null) end(id);
      },
      promiseResolve: end,
      destroy: end,
    }).enable();
    this.context = context;
    return context;
  }

  /**
   * Calls `act` and tracks the work that it starts, directly or indirectly.
   *
   * @template T @param {() => T} act @returns {T}
   */
  run(act) {
    if (!runtime.seesWork) return act();
    return (this.context ?? this.#watch()).run(true, act);
  }

  /**
   * Like `run`. A function that was already waiting for the call (`await once(process, 'SIGTERM')`) has its own
   * context: it continues in the microtasks that follow, and is tracked too.
   *
   * @template T @param {() => T} act @returns {T}
   */
  runWithWaiting(act) {
    if (!runtime.seesWork) {
      this.isUntold = true;
      return act();
    }
    const context = this.context ?? this.#watch();
    this.isFollowing = true;
    // The tick runs when the microtask queue is empty.
    queueMicrotask(() => {
      process.nextTick(() => {
        this.isFollowing = false;
      });
    });
    return context.run(true, act);
  }

  /** Calls `act` without tracking what it starts. @template T @param {() => T} act @returns {T} */
  exempt(act) {
    return this.context === null ? act() : this.context.run(false, act);
  }

  /**
   * Wraps `callback` so that the work it starts is tracked, whoever calls it.
   *
   * @param {(...args: any[]) => any} callback
   */
  bind(callback) {
    const { context } = this;
    if (context === null) return callback;
    /** @this {any} @param {any[]} args */
    return function bound(...args) {
      return context.run(true, () => Reflect.apply(callback, this, args));
    };
  }

  /** Whether tracked work is pending. Resources that do not keep the event loop alive are ignored. */
  get isPending() {
    if (this.isUntold) return true;
    for (const resource of this.pending.values()) if (resource?.hasRef?.() !== false) return true;
    return false;
  }
}

module.exports = { PendingWork };
