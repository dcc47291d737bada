// @ts-check
'use strict';

// The events of `process`.
//
// Relies on: `process.emit` does not throw the error of a listener: it reports it as an uncaught exception, with
// 'uncaughtExceptionMonitor', and calls the next listener; `process` emits 'newListener', and never 'removeListener'.
// Seen on: Bun 1.4.4, 1.4.5.

const MONITOR = 'uncaughtExceptionMonitor';

/** @typedef {(event: string | symbol, listener: (...args: any[]) => void) => void} Follower */

/** Callbacks for listeners that are removed. @type {Follower[]} */
const followers = [];

/** @param {string | symbol} event @param {Function[]} before its listeners until now */
function tellRemoved(event, before) {
  const left = process.listeners(/** @type {any} */ (event));
  for (const listener of before) {
    const at = left.indexOf(/** @type {any} */ (listener));
    if (at >= 0) left.splice(at, 1);
    else for (const removed of followers) removed(event, /** @type {any} */ (listener));
  }
}

/** Follows what removes listeners, but not `once`. */
function followRemovals() {
  for (const name of /** @type {const} */ (['off', 'removeListener', 'removeAllListeners'])) {
    const remove = process[name];
    /** @this {any} @param {any} event @param {any[]} rest */
    const value = function (event, ...rest) {
      const events = event === undefined ? process.eventNames() : [event];
      const before = events.map((one) => process.listeners(/** @type {any} */ (one)));
      const result = Reflect.apply(remove, this, event === undefined ? [] : [event, ...rest]);
      events.forEach((one, at) => tellRemoved(one, before[at]));
      return result;
    };
    Object.defineProperty(process, name, { value, writable: true, configurable: true, enumerable: false });
  }
}

/** Calls back before a listener of `process` is added, and after one was removed. @param {Follower} added @param {Follower} removed */
function followListeners(added, removed) {
  if (followers.length === 0) followRemovals();
  followers.push(removed);
  process.on('newListener', added);
}

/**
 * Emits 'message' on `process`.
 *
 * @param {any} message
 * @returns {{ error: unknown } | null} the first error of a listener, which has been reported as uncaught
 */
function emitMessage(message) {
  /** @type {{ error: unknown } | null} */
  let failure = null;
  const note = (/** @type {unknown} */ error) => {
    failure ??= { error };
  };
  const before = process.listeners('message');
  process.on(MONITOR, note);
  try {
    process.emit('message', message, undefined);
  } finally {
    process.off(MONITOR, note);
  }
  // Listeners of `once`.
  if (process.listenerCount('message') < before.length) tellRemoved('message', before);
  return failure;
}

module.exports = { emitMessage, followListeners };
