// @ts-check
'use strict';

// What nobody caught in a worker, told to the primary: errors that end the process, and rejections that a listener of the
// program's keeps from doing that.

const fs = require('node:fs');
const { inspect } = require('node:util');
const { addon } = require('../native');

const REJECTION = 'unhandledRejection';

/** So many rejections are told a second; the rest are counted. */
const MOST = 10;

/** Rejections of this turn: a listener of the program's may throw one, which is then told as what it is. @type {any[]} */
const pending = [];
let [second, toldOf, unsaid] = [0, 0, 0];

/** Anything may have been thrown, and must not throw again. @param {() => any} read */
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
function told(error, origin) {
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
function rejected(reason) {
  if (pending.length === 0) process.nextTick(tell);
  pending.push(reason);
}

function tell() {
  const now = Math.floor(performance.now() / 1000);
  if (now !== second) [second, toldOf] = [now, 0];
  for (const reason of pending.splice(0)) {
    if (toldOf >= MOST) {
      unsaid += 1;
      continue;
    }
    toldOf += 1;
    addon.workerRejected(told(reason, REJECTION), unsaid);
    unsaid = 0;
  }
}

/** A listener alone keeps a rejection from ending the process: there is one of drover's only beside the program's. */
function settle() {
  const listeners = process.listeners(REJECTION);
  const own = listeners.filter((listener) => listener === rejected).length;
  const wanted = listeners.length > own ? 1 : 0;
  if (own === wanted) return;
  for (let at = 0; at < own; at += 1) process.off(REJECTION, rejected);
  if (wanted === 1) process.prependListener(REJECTION, rejected);
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
function report(worker) {
  process.on('uncaughtExceptionMonitor', (/** @type {any} */ error, /** @type {string} */ origin) => {
    const at = pending.indexOf(error);
    if (at >= 0) pending.splice(at, 1);
    const mark = worker.orphaned ? '' : worker.welcome.report_mark;
    // Otherwise the runtime prints nothing, and the program goes on as it likes.
    const isPrinted = process.listenerCount('uncaughtException') === 0 && !process.hasUncaughtExceptionCaptureCallback();
    const isReported = mark !== '' && isPrinted && isOpen(2);
    addon.workerFailed(told(error, origin), isReported);
    // The runtime prints when the listeners of 'exit' have run: this is the last of them.
    if (isReported) process.on('exit', () => fs.writeSync(2, mark));
  });
  process.on('exit', tell);
  process.on('newListener', (name, listener) => {
    if (name === REJECTION && listener !== rejected) process.nextTick(settle);
  });
  process.on('removeListener', (name, listener) => {
    if (name === REJECTION && listener !== rejected) settle();
  });
  settle();
}

module.exports = { report };
