// @ts-check
'use strict';

// Delivers signals through drover.
//
// Relies on: Bun calls the listeners of a signal in their order, without `process.emit`.
// Seen on: Bun 1.4.4, 1.4.5.

/** Listens to signals, before the program does. `deliver` would call the program's listeners, which Bun does itself.
 *
 * @param {readonly NodeJS.Signals[]} signals
 * @param {(signal: NodeJS.Signals) => () => void} listenerOf
 */
function listenThrough(signals, listenerOf) {
  for (const signal of signals) process.on(signal, listenerOf(signal));
}

module.exports = { listenThrough };
