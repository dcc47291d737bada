// @ts-check
'use strict';

// What a piece of the program has begun and not ended: timers, requests to the kernel, promises, sockets. Nothing is
// watched before `run` is called for the first time, because watching costs every promise of the process something.

const { AsyncLocalStorage, createHook } = require('node:async_hooks');

/** Resources whose end the runtime reports at once. Others (an AsyncResource, a parser) end when their memory is collected. */
const REPORTED = /^(?:Timeout|Immediate|TickObject|PROMISE|WORKER|.*REQ(?:UEST|WRAP|CALLBACK|PROMISE)?|(?:TCP|PIPE|PROCESS|QUERY|SHUTDOWN|WRITE|UDPSEND|.*CONNECT)WRAP)$/;

class PendingWork {
  constructor() {
    /** By async id: the resource, or null where only its end is of interest. @type {Map<number, any>} */
    this.pending = new Map();
    /** @type {AsyncLocalStorage<boolean> | null} */
    this.context = null;
    /** What runs now follows from the call that `runWithWaiting` has just made. */
    this.isFollowing = false;
  }

  #watch() {
    const context = new AsyncLocalStorage();
    const end = (/** @type {number} */ id) => this.pending.delete(id);
    createHook({
      init: (id, type, _trigger, resource) => {
        if (!(context.getStore() ?? this.isFollowing) || !REPORTED.test(type)) return;
        // A promise that nobody can settle any more is collected; holding it here would prevent that.
        this.pending.set(id, type === 'PROMISE' ? null : resource);
      },
      before: (id) => {
        if ((this.isFollowing || this.pending.has(id)) && context.getStore() === undefined) context.enterWith(true);
      },
      // What `await` makes of a promise is never settled: it has ended when its function has gone on.
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
   * Calls `act`. What it begins, and what follows from that, counts.
   *
   * @template T @param {() => T} act @returns {T}
   */
  run(act) {
    return (this.context ?? this.#watch()).run(true, act);
  }

  /**
   * As `run`. A function that has waited for the call since before (`await once(process, 'SIGTERM')`) has a context of its
   * own: it goes on in the microtasks that follow, and counts too.
   *
   * @template T @param {() => T} act @returns {T}
   */
  runWithWaiting(act) {
    const context = this.context ?? this.#watch();
    this.isFollowing = true;
    // Ticks run when no microtask is left.
    queueMicrotask(() => {
      process.nextTick(() => {
        this.isFollowing = false;
      });
    });
    return context.run(true, act);
  }

  /** Calls `act`. Nothing that it begins counts. @template T @param {() => T} act @returns {T} */
  exempt(act) {
    return this.context === null ? act() : this.context.run(false, act);
  }

  /** `callback`, during which what is begun counts, whoever calls it. @param {(...args: any[]) => any} callback */
  bind(callback) {
    const { context } = this;
    if (context === null) return callback;
    /** @this {any} @param {any[]} args */
    return function bound(...args) {
      return context.run(true, () => Reflect.apply(callback, this, args));
    };
  }

  /** Whether something that was begun has not ended. What does not keep the event loop alive is waited for by nobody. */
  get isPending() {
    for (const resource of this.pending.values()) if (resource?.hasRef?.() !== false) return true;
    return false;
  }
}

module.exports = { PendingWork };
