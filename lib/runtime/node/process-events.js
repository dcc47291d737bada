// @ts-check
'use strict';

// The events of `process`.

/**
 * Emits 'message' on `process`; throws the error of a listener.
 *
 * @param {any} message
 * @returns {{ error: unknown } | null} the error of a listener that the runtime has reported as uncaught
 */
function emitMessage(message) {
  process.emit('message', message, undefined);
  return null;
}

/**
 * Calls back before a listener of `process` is added, and after one was removed.
 *
 * @param {(event: string | symbol, listener: (...args: any[]) => void) => void} added
 * @param {(event: string | symbol, listener: (...args: any[]) => void) => void} removed
 */
function followListeners(added, removed) {
  process.on('newListener', added);
  process.on('removeListener', removed);
}

module.exports = { emitMessage, followListeners };
