// @ts-check
'use strict';

// Delivers signals through drover.
//
// Relies on: Node calls the `process.emit` that existed when a signal got its first listener. If Node changes this,
// signals reach their listeners directly.
// Seen on: Node.js 20, 22, 24, 26.

/** Listens to signals. `deliver` is called before any listener.
 *
 * @param {readonly NodeJS.Signals[]} signals
 * @param {(signal: NodeJS.Signals) => () => void} listenerOf
 * @param {(signal: NodeJS.Signals, args: any[]) => boolean} deliver calls the listeners or handles the signal itself;
 * returns like `process.emit`
 */
function listenThrough(signals, listenerOf, deliver) {
  const { emit } = process;
  const replaced = Object.getOwnPropertyDescriptor(process, 'emit');
  let isListening = false;
  /** @param {[any, ...any[]]} args */
  const value = (...args) => (isListening ? deliver(args[0], args.slice(1)) : Reflect.apply(emit, process, args));
  Object.defineProperty(process, 'emit', { value, configurable: true });
  try {
    for (const signal of signals) process.on(signal, listenerOf(signal));
  } finally {
    isListening = true;
    Reflect.deleteProperty(process, 'emit');
    if (replaced !== undefined) Object.defineProperty(process, 'emit', replaced);
  }
}

module.exports = { listenThrough };
