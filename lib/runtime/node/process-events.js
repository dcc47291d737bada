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

module.exports = { emitMessage };
