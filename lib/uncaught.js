// @ts-check
'use strict';

// What nobody caught in a worker, told to the primary: errors that end the process, and rejections that a listener of the
// program's keeps from doing that.

const { addon } = require('./native');

const REJECTION = 'unhandledRejection';

/** @param {any} error @param {string} origin */
function told(error, origin) {
  const isError = error instanceof Error;
  return {
    name: isError ? error.name : 'Error',
    message: isError ? error.message : String(error),
    code: isError && 'code' in error && error.code !== undefined ? String(error.code) : null,
    stack: isError ? (error.stack ?? null) : null,
    origin,
  };
}

/** @param {any} reason */
function rejected(reason) {
  addon.workerRejected(told(reason, REJECTION));
}

function report() {
  process.on('uncaughtExceptionMonitor', (/** @type {any} */ error, /** @type {string} */ origin) => {
    addon.workerFailed(told(error, origin));
  });
  // A listener alone keeps a rejection from ending the process: there is one of drover's only beside the program's.
  process.on('newListener', (name) => {
    if (name === REJECTION && process.listenerCount(REJECTION) === 0) process.nextTick(follow);
  });
  process.on('removeListener', (name, listener) => {
    if (name === REJECTION && listener !== rejected && process.listenerCount(REJECTION) === 1) process.off(REJECTION, rejected);
  });
}

function follow() {
  if (process.listenerCount(REJECTION) > 0) process.prependListener(REJECTION, rejected);
}

module.exports = { report };
