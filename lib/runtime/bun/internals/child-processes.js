// @ts-check
'use strict';

// The child processes of this process.
//
// Relies on: node:child_process starts each of them by `ChildProcess.prototype.spawn`.
// Seen on: Bun 1.4.4, 1.4.5.

const { ChildProcess } = require('node:child_process');

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

/** Follows the children that are started from now on. */
function followChildren() {
  const prototype = /** @type {any} */ (ChildProcess.prototype);
  const { spawn } = prototype;
  prototype.spawn = function (/** @type {any[]} */ ...args) {
    const result = Reflect.apply(spawn, this, args);
    if (this.pid !== undefined) {
      running.add(this);
      this.once('exit', () => running.delete(this));
    }
    return result;
  };
}

/** The running child processes. */
function runningChildren() {
  return [...running];
}

module.exports = { followChildren, runningChildren };
