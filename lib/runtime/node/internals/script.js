// @ts-check
'use strict';

// The script that this process runs.
//
// Relies on: `process._eval` (there is none: the code was given on the command line), and `process.mainModule.loaded`.
// Seen on: Node.js 20, 22, 24, 26.

/** Whether evaluated code runs (-e, -p), which leaves no script to run again. */
function isEvaluated() {
  return /** @type {any} */ (process)._eval !== undefined;
}

/** Whether the CommonJS module that the process was started with has run to its end. */
function isMainLoaded() {
  return process.mainModule?.loaded === true;
}

/** Whether this executable contains the script. */
function isStandalone() {
  return false;
}

module.exports = { isEvaluated, isMainLoaded, isStandalone };
