// @ts-check
'use strict';

// Delivering signals by way of drover.
//
// Relies on: Node calls the `process.emit` that was there when a signal got its first listener. Where Node comes to do
// otherwise, signals reach their listeners as ever.
// Seen on: Node.js 20, 22, 24, 26.

/**
 * Listens to signals. `deliver` is asked before any listener is called.
 *
 * @param {readonly NodeJS.Signals[]} signals
 * @param {(signal: NodeJS.Signals) => () => void} listenerOf
 * @param {(signal: NodeJS.Signals, args: any[]) => boolean} deliver calls the listeners, or does not
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
