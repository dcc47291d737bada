// @ts-check
'use strict';

// Errors that end the process, and Bun's report of them on standard error.
//
// Relies on: an unhandled rejection ends the process without 'uncaughtExceptionMonitor' and 'uncaughtException', unless the
// program listens to 'unhandledRejection' or gives `--unhandled-rejections`; a listener of 'uncaughtException' that a listener
// of 'uncaughtExceptionMonitor' has added gets the error, and Bun prints nothing then; `Bun.inspect(error)` is what Bun prints.
// Seen on: Bun 1.4.4, 1.4.5.

const { writeAll } = require('./stream-writes');

const { Bun } = /** @type {any} */ (globalThis);

const STDERR = 2;
const FAILED = 1;

/** An unhandled rejection ends the process without 'uncaughtExceptionMonitor'. */
const rejectionsEndUnseen = !process.execArgv.some((argument) => argument.startsWith('--unhandled-rejections'));

/** Prints the report when the process ends, behind this mark. @param {any} error @param {string} mark */
function printAtExit(error, mark) {
  process.on('exit', () => {
    writeAll(STDERR, `${mark}${Bun.inspect(error).trimEnd()}\n\nBun v${Bun.version} (Linux ${process.arch})\n`);
  });
}

/** For a listener of 'uncaughtExceptionMonitor': writes a mark before the runtime's report of the error. @param {any} error @param {string} mark */
function markReport(error, mark) {
  printAtExit(error, mark);
  process.once('uncaughtException', () => process.exit(FAILED));
}

/** Ends the process as an unhandled rejection does. @param {any} reason @param {string} mark precedes the report */
function endByRejection(reason, mark) {
  printAtExit(reason, mark);
  process.exit(FAILED);
}

module.exports = { endByRejection, markReport, rejectionsEndUnseen };
