// @ts-check
'use strict';

// The events of `process`.
//
// Relies on: `process.emit` does not throw the error of a listener: it reports it as an uncaught exception, with
// 'uncaughtExceptionMonitor', and calls the next listener.
// Seen on: Bun 1.4.4, 1.4.5.

const MONITOR = 'uncaughtExceptionMonitor';

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
  process.on(MONITOR, note);
  try {
    process.emit('message', message, undefined);
  } finally {
    process.off(MONITOR, note);
  }
  return failure;
}

module.exports = { emitMessage };
