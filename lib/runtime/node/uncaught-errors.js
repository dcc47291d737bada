// @ts-check
'use strict';

// Errors that end the process, and Node's report of them on standard error.

const fs = require('node:fs');

const STDERR = 2;

/** An unhandled rejection ends the process without 'uncaughtExceptionMonitor'. */
const rejectionsEndUnseen = false;

/** For a listener of 'uncaughtExceptionMonitor': writes a mark before the runtime's report of the error. @param {any} error @param {string} mark */
function markReport(error, mark) {
  void error;
  // The runtime prints after the 'exit' listeners have run: this is the last of them.
  process.on('exit', () => fs.writeSync(STDERR, mark));
}

/** Ends the process as an unhandled rejection does, where `rejectionsEndUnseen`. @param {any} reason @param {string} mark */
function endByRejection(reason, mark) {
  void [reason, mark];
}

module.exports = { endByRejection, markReport, rejectionsEndUnseen };
