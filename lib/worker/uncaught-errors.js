// @ts-check
'use strict';

// Reports uncaught errors of a worker to the primary: errors that end the process, and rejections that the program's
// own listener receives.

const fs = require('node:fs');
const { inspect } = require('node:util');
const { addon } = require('../native');
const runtime = require('../runtime');

const REJECTION = 'unhandledRejection';

/** Rejections that are reported per second; the rest is counted. */
const MAX_REJECTIONS = 10;

/**
 * Rejections of this iteration: if the program's listener throws one, it is reported as an exception instead.
 * @type {any[]}
 */
const pending = [];
let [second, reported, omitted] = [0, 0, 0];

/** A listener of `once` has left by now. */
let afterRejections = () => {};

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

/** An AggregateError says why in its errors: a script that cannot be parsed has several under Bun. @param {any} error */
function messageOf(error) {
  if (!(error instanceof AggregateError)) return error.message;
  return [error.message, ...error.errors.map((one) => one?.message)].filter((text) => typeof text === 'string' && text !== '').join(': ');
}

/** @param {any} error @param {string} origin */
function asData(error, origin) {
  if (!(error instanceof Error)) {
    const message = textOf(() => error) ?? String(error === null ? null : undefined);
    return { name: 'Error', message, code: null, stack: null, origin };
  }
  return {
    name: textOf(() => error.name) ?? 'Error',
    message: textOf(() => messageOf(error)) ?? '',
    code: textOf(() => /** @type {any} */ (error).code),
    stack: textOf(() => error.stack),
    origin,
  };
}

/** @param {any} reason */
function onRejection(reason) {
  if (pending.length === 0) {
    process.nextTick(() => {
      reportRejections();
      afterRejections();
    });
  }
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

/**
 * Any listener keeps a rejection from ending the process, so drover adds its own only if the program has one. A runtime
 * that does not tell of rejections that end the process gets `onLastRejection` otherwise, which ends it.
 *
 * @param {(reason: any) => void} onLastRejection
 */
function followListeners(onLastRejection) {
  const listeners = process.listeners(REJECTION);
  const isHandled = listeners.some((listener) => listener !== onRejection && listener !== onLastRejection);
  const place = (/** @type {(reason: any) => void} */ own, /** @type {boolean} */ isWanted) => {
    const count = listeners.filter((listener) => listener === own).length;
    if (count === Number(isWanted)) return;
    for (let at = 0; at < count; at += 1) process.off(REJECTION, own);
    if (isWanted) process.prependListener(REJECTION, own);
  };
  place(onRejection, isHandled);
  place(onLastRejection, !isHandled && runtime.rejectionsEndUnseen);
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
  /** Reports an error; returns what has to precede the runtime's own report. @param {any} error @param {string} origin @param {boolean} isPrinted */
  const report = (error, origin, isPrinted) => {
    const mark = worker.orphaned || !isPrinted || !isOpen(2) ? '' : worker.hello.report_mark;
    addon.workerFailed(asData(error, origin), mark !== '');
    return mark;
  };
  const onLastRejection = (/** @type {any} */ reason) => runtime.endByRejection(reason, report(reason, REJECTION, true));

  process.on('uncaughtExceptionMonitor', (/** @type {any} */ error, /** @type {string} */ origin) => {
    const at = pending.indexOf(error);
    if (at >= 0) pending.splice(at, 1);
    // Otherwise the runtime prints nothing, and the program continues.
    const isPrinted = process.listenerCount('uncaughtException') === 0 && !process.hasUncaughtExceptionCaptureCallback();
    const mark = report(error, origin, isPrinted);
    if (mark !== '') runtime.markReport(error, mark);
  });
  process.on('exit', reportRejections);
  const isOfProgram = (/** @type {any} */ name, /** @type {any} */ listener) => name === REJECTION && listener !== onRejection && listener !== onLastRejection;
  runtime.followListeners(
    (name, listener) => {
      if (!isOfProgram(name, listener)) return;
      process.off(REJECTION, onLastRejection);
      process.nextTick(followListeners, onLastRejection);
    },
    (name, listener) => {
      if (isOfProgram(name, listener)) followListeners(onLastRejection);
    },
  );
  afterRejections = () => followListeners(onLastRejection);
  afterRejections();
}

module.exports = { reportErrors };
