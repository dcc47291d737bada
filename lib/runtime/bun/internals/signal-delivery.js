// @ts-check
'use strict';

// Delivers signals through drover.
//
// Relies on: Bun calls the listeners of a signal itself, without `process.emit`; every access to the listeners of `process`
// goes through its methods. So the program's listeners of these signals are kept apart from those that Bun calls.
// Seen on: Bun 1.4.4, 1.4.5.

const { EventEmitter } = require('node:events');

/** Methods that add a listener. */
const ADDING = /** @type {const} */ (['on', 'addListener', 'once', 'prependListener', 'prependOnceListener']);
/** Methods that get the name of an event, and work on its listeners. */
const OTHERS = /** @type {const} */ (['emit', 'listenerCount', 'listeners', 'off', 'rawListeners', 'removeListener']);

/** Listens to signals. `deliver` is called before any listener.
 *
 * @param {readonly NodeJS.Signals[]} signals
 * @param {(signal: NodeJS.Signals) => () => void} listenerOf
 * @param {(signal: NodeJS.Signals, args: any[]) => boolean} deliver calls the listeners or handles the signal itself;
 * returns like `process.emit`
 */
function listenThrough(signals, listenerOf, deliver) {
  const kept = new EventEmitter().setMaxListeners(0);
  const isKept = (/** @type {any} */ name) => signals.includes(name);
  for (const signal of signals) {
    kept.on(signal, listenerOf(signal));
    process.on(signal, (...args) => void deliver(signal, args));
  }

  /** @param {string} name @param {(own: Function, args: any[]) => any} act */
  const replace = (name, act) => {
    const { [name]: own } = /** @type {any} */ (process);
    /** @this {any} @param {any[]} args */
    const value = function (...args) {
      return act((/** @type {any[]} */ ...given) => Reflect.apply(own, this, given), args);
    };
    Object.defineProperty(process, name, { value, writable: true, configurable: true, enumerable: false });
  };
  /** @param {string} name @param {any[]} args */
  const ofKept = (name, args) => {
    const result = Reflect.apply(/** @type {any} */ (kept)[name], kept, args);
    return result === kept ? process : result;
  };
  for (const name of ADDING) {
    replace(name, (own, args) => {
      if (!isKept(args[0])) return own(...args);
      process.emit('newListener', /** @type {any} */ (args[0]), args[1]);
      return ofKept(name, args);
    });
  }
  for (const name of OTHERS) replace(name, (own, args) => (isKept(args[0]) ? ofKept(name, args) : own(...args)));
  replace('removeAllListeners', (own, args) => {
    if (args.length === 0 || args[0] === undefined) kept.removeAllListeners();
    else if (isKept(args[0])) return ofKept('removeAllListeners', args);
    return own(...args);
  });
  replace('eventNames', (own) => [...new Set([...own(), ...kept.eventNames()])]);
}

module.exports = { listenThrough };
