// @ts-check
'use strict';

// Failures of messages, as sent between processes and as errors for the sender.

const { WorkerCommunicationError, foreign } = require('../errors');
const { workerAway } = require('../symbols');

/**
 * @typedef {{ code: string, message: string, details?: any, cause?: any }} Failure `cause`: an error of the program, `{
 * name, message, code, stack }`
 */

/** The parts of a program's error that are sent. @param {unknown} thrown */
function causeOf(thrown) {
  if (!(thrown instanceof Error)) return { name: 'Error', message: String(thrown) };
  const { name, message, stack, code } = /** @type {Error & { code?: unknown }} */ (thrown);
  return code === undefined ? { name, message, stack } : { name, message, stack, code: String(code) };
}

/** The failure of a handler that threw. @param {string} kind @param {unknown} thrown @returns {Failure} */
function handlerFailed(kind, thrown) {
  const cause = causeOf(thrown);
  return { code: 'HANDLER_FAILED', message: `The handler of '${kind}' failed: ${cause.message}`, cause };
}

/** The failure of a message without a handler. @param {string} kind @returns {Failure} */
function noHandler(kind) {
  return { code: 'NO_HANDLER', message: `There is no handler for messages of type '${kind}'` };
}

/** The failure of a message to a worker that is being replaced. @param {string} slot */
function notThere(slot) {
  const text = `Worker ${slot} is not there now: it is starting or being replaced`;
  return Object.assign(new WorkerCommunicationError(text, 'WORKER_GONE'), { [workerAway]: true });
}

/** Whether a message was not sent because its worker is being replaced. @param {any} error */
function isAway(error) {
  return error?.[workerAway] === true;
}

/** @param {Failure} failure */
function errorOf({ code, message, details, cause }) {
  const error = new WorkerCommunicationError(message, code, details);
  if (cause) error.cause = foreign(cause.message, { stack: '', ...cause });
  return error;
}

module.exports = { errorOf, handlerFailed, isAway, noHandler, notThere };
