// @ts-check
'use strict';

// The error classes, and the conversion of errors of the core and of the system to them.

const util = require('node:util');

/** The base class of drover's errors: `code` for programs, `message` for people, `details` for both. */
class ClusterError extends Error {
  /**
   * @param {string} message
   * @param {string} [code]
   * @param {any} [details]
   */
  constructor(message, code, details) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.details = details;
    this.timestamp = Date.now();
  }
}

class WorkerStartupError extends ClusterError {}
class WorkerCommunicationError extends ClusterError {}
class ResourceExhaustionError extends ClusterError {}
class ConfigurationError extends ClusterError {}
class HealthCheckError extends ClusterError {}

/** @type {Record<string, typeof ClusterError>} */
const classes = {
  CONFIGURATION_INVALID: ConfigurationError,
  WORKER_STARTUP_FAILED: WorkerStartupError,
  WORKER_COMMUNICATION: WorkerCommunicationError,
  MESSAGE_TOO_LARGE: WorkerCommunicationError,
  MESSAGE_QUEUE_FULL: WorkerCommunicationError,
  MESSAGE_REFUSED: WorkerCommunicationError,
  MESSAGE_TIMEOUT: WorkerCommunicationError,
  NO_HANDLER: WorkerCommunicationError,
  HANDLER_FAILED: WorkerCommunicationError,
  WORKER_GONE: WorkerCommunicationError,
  RESTART_REQUIRED: ConfigurationError,
  RESOURCE_EXHAUSTED: ResourceExhaustionError,
};

/** @typedef {{ code: string, message: string, details?: any }} CoreError */

/** The core's error of each error that was created from it. @type {WeakMap<Error, CoreError>} */
const coreErrors = new WeakMap();

/** @param {unknown} error @returns {CoreError | undefined} */
function coreOf(error) {
  return coreErrors.get(/** @type {Error} */ (error));
}

/** Members of `details` that repeat the message or `cause`: not enumerable, so that a printed error shows them once. */
const SHOWN = ['cause', 'output'];

/** Paths of drover's own code and of the runtime. */
const INNER = [`${__dirname}/`, '(node:', 'at node:'];

/**
 * Converts an error of the core to one of the classes. An error of a worker's program keeps its name, message, code and
 * stack.
 *
 * @param {CoreError} core
 */
function fromCore({ code, message, details }) {
  if (details?.stack) {
    const error = foreign(message, details);
    coreErrors.set(error, { code, message, details });
    return error;
  }
  const Class = classes[code] ?? ClusterError;
  const error = new Class(message, code, details);
  coreErrors.set(error, { code, message, details });
  if (details?.cause) error.cause = fromCore(details.cause);
  for (const name of SHOWN) if (details?.[name] !== undefined) Object.defineProperty(details, name, { enumerable: false });
  return error;
}

/** An error that is created by `make` has no frames in its stack. @template {Error} E @param {() => E} make @returns {E} */
function withoutStack(make) {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    const error = make();
    // V8's has the message all the same.
    if (error.stack === undefined) Object.defineProperty(error, 'stack', { value: String(error), writable: true, configurable: true, enumerable: false });
    return error;
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/**
 * For an error that the program may not handle: the runtime prints its stack, of which only the program's own frames
 * help.
 *
 * @template {Error} E @param {E} error
 */
function withOuterStack(error) {
  const lines = String(error.stack).split('\n');
  const isInner = (/** @type {string} */ line) => line.startsWith('    at ') && INNER.some((part) => line.includes(part));
  error.stack = lines.filter((line) => !isInner(line)).join('\n');
  return error;
}

/** @type {Record<string, ErrorConstructor>} */
const builtins = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/**
 * @param {string} message
 * @param {{ name: string, code?: string, stack: string }} details
 */
function foreign(message, { name, code, stack }) {
  const error = new (builtins[name] ?? Error)(message);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  error.stack = stack;
  return code === undefined || code === null ? error : Object.assign(error, { code });
}

/**
 * Returns the value of an outcome of the core, or throws its error.
 *
 * @param {{ ok?: any, error?: CoreError }} outcome
 */
function unwrap(outcome) {
  if (outcome.error) throw fromCore(outcome.error);
  return outcome.ok;
}

/**
 * Creates Node's own error for a failed `listen`. It has no stack, which would show only drover and the runtime.
 *
 * @param {number} errno positive
 * @param {string | null | undefined} address
 * @param {number | null} port
 */
function listenError(errno, address, port) {
  const [code, text] = util.getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
  const where = port !== null && port > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '';
  const error = withoutStack(() => new Error(`listen ${code}: ${text}${where}`));
  return Object.assign(error, { code, errno: -errno, syscall: 'listen', address }, port ? { port } : {});
}

/** @param {string} what */
function notSupported(what) {
  return new ClusterError(`${what} is not supported by this version of drover`, 'NOT_SUPPORTED');
}

/** @param {string} method */
function notClustered(method) {
  return new ClusterError(`${method} needs a cluster, and clustering is off in this process`, 'NOT_CLUSTERED');
}

/**
 * For `process.nextTick`: throws an error without an owner, so that it is Node's 'uncaughtException'.
 *
 * @param {unknown} error
 */
function rethrow(error) {
  throw error;
}

module.exports = {
  ClusterError,
  ConfigurationError,
  HealthCheckError,
  ResourceExhaustionError,
  WorkerCommunicationError,
  WorkerStartupError,
  coreOf,
  foreign,
  fromCore,
  listenError,
  notClustered,
  notSupported,
  rethrow,
  unwrap,
  withOuterStack,
};
