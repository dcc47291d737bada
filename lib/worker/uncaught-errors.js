// @ts-check
'use strict';

// Reports uncaught errors of a worker to the primary: errors that end the process, and rejections that the program's
// own listener receives.

const fs = require('node:fs');
const { inspect } = require('node:util');
const { addon } = require('../native');

const REJECTION = 'unhandledRejection';

/** Rejections that are reported per second; the rest is counted. */
const MAX_REJECTIONS = 10;

/**
 * Rejections of this iteration: if the program's listener throws one, it is reported as an exception instead.
 * @type {any[]}
 */
const pending = [];
let [second, reported, omitted] = [0, 0, 0];

/** Reads from a thrown value, which may be anything; must not throw. @param {() => any} read */
function textOf(read) {
  try {
    const value = read();
    if (value === undefined || value === null) return null;
    return typeof value === 'object' ? inspect(value) : String(value);
  } catch {
    return null;
  }
}

/** @param {any} error @param {string} origin */
function asData(error, origin) {
  if (!(error instanceof Error)) {
    const message = textOf(() => error) ?? String(error === null ? null : undefined);
    return { name: 'Error', message, code: null, stack: null, origin };
  }
  return {
    name: textOf(() => error.name) ?? 'Error',
    message: textOf(() => error.message) ?? '',
    code: textOf(() => /** @type {any} */ (error).code),
    stack: textOf(() => error.stack),
    origin,
  };
}

/** @param {any} reason */
function onRejection(reason) {
  if (pending.length === 0) process.nextTick(reportRejections);
  pending.push(reason);
}

function reportRejections() {
  const now = Math.floor(performance.now() / 1000);
  if (now !== second) [second, reported] = [now, 0];
  for (const reason of pending.splice(0)) {
    if (reported >= MAX_REJECTIONS) {
      omitted += 1;
      continue;
    }
    reported += 1;
    addon.workerRejected(asData(reason, REJECTION), omitted);
    omitted = 0;
  }
}

/** Any listener keeps a rejection from ending the process, so drover adds its own only if the program has one. */
function followListeners() {
  const listeners = process.listeners(REJECTION);
  const own = listeners.filter((listener) => listener === onRejection).length;
  const wanted = listeners.length > own ? 1 : 0;
  if (own === wanted) return;
  for (let at = 0; at < own; at += 1) process.off(REJECTION, onRejection);
  if (wanted === 1) process.prependListener(REJECTION, onRejection);
}

/** @param {number} fd */
function isOpen(fd) {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** @param {import('./worker').Worker} worker */
function reportErrors(worker) {
  process.on('uncaughtExceptionMonitor', (/** @type {any} */ error, /** @type {string} */ origin) => {
    const at = pending.indexOf(error);
    if (at >= 0) pending.splice(at, 1);
    const mark = worker.orphaned ? '' : worker.hello.report_mark;
    // Otherwise the runtime prints nothing, and the program continues.
    const isPrinted = process.listenerCount('uncaughtException') === 0 && !process.hasUncaughtExceptionCaptureCallback();
    const isReported = mark !== '' && isPrinted && isOpen(2);
    addon.workerFailed(asData(error, origin), isReported);
    // The runtime prints after the 'exit' listeners have run: this is the last of them.
    if (isReported) process.on('exit', () => fs.writeSync(2, mark));
  });
  process.on('exit', reportRejections);
  process.on('newListener', (name, listener) => {
    if (name === REJECTION && listener !== onRejection) process.nextTick(followListeners);
  });
  process.on('removeListener', (name, listener) => {
    if (name === REJECTION && listener !== onRejection) followListeners();
  });
  followListeners();
}

module.exports = { reportErrors };
