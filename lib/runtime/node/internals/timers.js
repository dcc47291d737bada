// @ts-check
'use strict';

// When a socket's timeout was last started.
//
// Relies on: the symbol 'timeout' of a socket, under which Node keeps its timer, and `timer._idleStart`, in milliseconds
// of the clock of Node's timers (-1: it does not run).
// Seen on: Node.js 20, 22, 24, 26.

/** Now, by the clock of Node's timers, milliseconds. @returns {number} */
function timerNow() {
  const timer = /** @type {any} */ (setTimeout(() => {}, 1));
  const now = timer._idleStart;
  clearTimeout(timer);
  return now;
}

/**
 * How long a socket's timeout has been running, milliseconds.
 *
 * @param {any} socket
 * @param {number} now from `timerNow`
 */
function timeoutElapsed(socket, now) {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout');
  const timer = symbol === undefined ? null : socket[symbol];
  return timer?._idleStart >= 0 ? now - timer._idleStart : 0;
}

module.exports = { timeoutElapsed, timerNow };
