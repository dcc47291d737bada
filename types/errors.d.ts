// Errors: each has a code for programs, a message for people, and details.

import type { Timestamp } from './units';

/** drover's own codes. */
export type ClusterErrorCode =
  /** The configuration has faults; `details.faults` lists all of them. */
  | 'CONFIGURATION_INVALID'
  /** An option or a method that this version does not support. */
  | 'NOT_SUPPORTED'
  /** The method needs a cluster and this process has none. */
  | 'NOT_CLUSTERED'
  /** No worker became ready, or a worker that was waited for did not. */
  | 'WORKER_STARTUP_FAILED'
  /** `start` was called again with another port or host. */
  | 'ALREADY_STARTED'
  /** The cluster does not run: it is stopping, has stopped, or was not started. */
  | 'STOPPED'
  /** There is no script that a worker could run: `exec` is missing, does not exist, or cannot run as a worker. */
  | 'NO_SCRIPT'
  /** There is no worker with that id. */
  | 'NO_SUCH_WORKER'
  /** An invalid argument of a method. */
  | 'INVALID_ARGUMENT'
  /** A message did not reach its handler or the handler failed. */
  | 'WORKER_COMMUNICATION'
  /** The receiver has neither a handler nor a listener for messages of that type. */
  | 'NO_HANDLER'
  /** The handler threw; `cause` is its error. */
  | 'HANDLER_FAILED'
  /** The worker does not run, or ended before it responded. */
  | 'WORKER_GONE'
  /** No response arrived in time (`ipc.timeout`). */
  | 'MESSAGE_TIMEOUT'
  /** The message is larger than `ipc.maxMessageSize`. */
  | 'MESSAGE_TOO_LARGE'
  /** Too many messages to that worker are pending (`ipc.maxPending`). */
  | 'MESSAGE_QUEUE_FULL'
  /** `security.ipc` does not allow the message, or it does not match the schema of its type. */
  | 'MESSAGE_REFUSED'
  /** The message type already has a handler in this process. */
  | 'HANDLER_EXISTS'
  /** `getOrSet` has no value within `hardTimeout`. */
  | 'CACHE_TIMEOUT'
  | 'FLEET_UNAVAILABLE'
  /** A worker's program loads another version of drover than the one that attached the worker. */
  | 'VERSION_MISMATCH'
  /** An option that cannot change while the cluster runs; `details.options` lists all of them. */
  | 'RESTART_REQUIRED'
  /** No process, file descriptor or memory is left for the operation. */
  | 'RESOURCE_EXHAUSTED'
  /** A system call failed; see `details.errno` and `details.syscall`. */
  | 'SYSTEM';

/** Node's own codes for an address that cannot be opened; such errors have the form of Node's. */
export type NodeErrorCode =
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'EACCES'
  | 'EAFNOSUPPORT'
  | 'EINVAL'
  | 'EMFILE'
  | 'ENFILE'
  | 'ENOENT'
  | 'ENOTFOUND'
  | 'EPERM'
  | 'ERR_SERVER_ALREADY_LISTEN'
  | 'ERR_SERVER_NOT_RUNNING'
  | 'ERR_SOCKET_BAD_PORT'
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE';

export type ErrorCode = ClusterErrorCode | NodeErrorCode;

/** One fault of a configuration. */
export interface ConfigurationFault {
  /** The path as the user wrote it, `cluster.config.workers`, or the name of an environment variable. */
  path: string;
  /** The value found; never a secret. */
  found: string;
  allowed: string;
  /** Usually the most similar known key. */
  hint?: string;
}

/** The base class of drover's errors. */
export class ClusterError extends Error {
  constructor(message: string, code?: string, details?: any);
  readonly code?: ErrorCode | (string & {});
  readonly details?: any;
  readonly timestamp: Timestamp;
}

/** `WORKER_STARTUP_FAILED`: no worker became ready, or one that was waited for did not. */
export class WorkerStartupError extends ClusterError {}

/**
 * A message did not reach its handler, or the handler failed: `NO_HANDLER`, `HANDLER_FAILED`, `WORKER_GONE`,
 * `MESSAGE_TIMEOUT`, `MESSAGE_TOO_LARGE`, `MESSAGE_QUEUE_FULL`, `MESSAGE_REFUSED` or `WORKER_COMMUNICATION`.
 */
export class WorkerCommunicationError extends ClusterError {}

/** `RESOURCE_EXHAUSTED`: no process, file descriptor or memory is left for the operation. */
export class ResourceExhaustionError extends ClusterError {}

/** `CONFIGURATION_INVALID`: nothing was started; all faults are in `details.faults`. */
export class ConfigurationError extends ClusterError {
  readonly details?: { faults: ConfigurationFault[] };
}

/** A health check could not be made. */
export class HealthCheckError extends ClusterError {}
