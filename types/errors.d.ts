// Errors: each has a code for programs, a message for people, and details.

import type { Timestamp } from './units';

/** drover's own codes. */
export type ClusterErrorCode =
  /** The configuration has faults; `details.faults` lists all of them. */
  | 'CONFIGURATION_INVALID'
  /** A value or a method asks for what this version does not bring. */
  | 'NOT_SUPPORTED'
  /** The method needs a cluster and this process has none. */
  | 'NOT_CLUSTERED'
  /** No worker got ready, or a worker that had to get ready did not. */
  | 'WORKER_STARTUP_FAILED'
  /** `start` was called again with another port or host. */
  | 'ALREADY_STARTED'
  /** The cluster does not run: it is stopping, has stopped, or was not started. */
  | 'STOPPED'
  /** There is no script a worker could run: none at all, or what `exec` names is not there or can never be a worker. */
  | 'NO_SCRIPT'
  /** There is no worker with that id. */
  | 'NO_SUCH_WORKER'
  /** A number, an id or a name that a method does not take. */
  | 'INVALID_ARGUMENT'
  /** A message did not reach its handler or the handler failed. */
  | 'WORKER_COMMUNICATION'
  /** Nobody handles messages of that type there: neither a handler nor a listener exists. */
  | 'NO_HANDLER'
  /** The handler threw; `cause` is what. */
  | 'HANDLER_FAILED'
  /** The worker ended, or was not there, before it answered. */
  | 'WORKER_GONE'
  /** No answer came in time (`ipc.timeout`). */
  | 'MESSAGE_TIMEOUT'
  /** The message is larger than `ipc.maxMessageSize`. */
  | 'MESSAGE_TOO_LARGE'
  /** Too many messages wait for that worker already (`ipc.maxPending`). */
  | 'MESSAGE_QUEUE_FULL'
  /** `security.ipc` does not allow the message, or it does not match the schema of its type. */
  | 'MESSAGE_REFUSED'
  /** A type of message has a handler already. */
  | 'HANDLER_EXISTS'
  /** A worker's program loads another version of drover than the one that attached the worker. */
  | 'VERSION_MISMATCH'
  /** No process, descriptor or memory left for what was asked. */
  | 'RESOURCE_EXHAUSTED'
  /** A system call failed; `details.errno` and `details.syscall` say which and how. */
  | 'SYSTEM';

/** Node's own codes for a port or a path that cannot be had; such errors are Node's as well. */
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

/** One thing that is wrong with a configuration. */
export interface ConfigurationFault {
  /** The path as the user wrote it, `cluster.config.workers`, or the name of an environment variable. */
  path: string;
  /** What was given; never a secret. */
  found: string;
  allowed: string;
  /** Most often the nearest known key. */
  hint?: string;
}

/** What every error of drover's is. */
export class ClusterError extends Error {
  constructor(message: string, code?: string, details?: any);
  readonly code?: ErrorCode | (string & {});
  readonly details?: any;
  readonly timestamp: Timestamp;
}

/** `WORKER_STARTUP_FAILED`: no worker got ready, or one that had to did not. */
export class WorkerStartupError extends ClusterError {}

/**
 * A message did not reach its handler, or the handler failed: `NO_HANDLER`, `HANDLER_FAILED`, `WORKER_GONE`,
 * `MESSAGE_TIMEOUT`, `MESSAGE_TOO_LARGE`, `MESSAGE_QUEUE_FULL`, `MESSAGE_REFUSED` or `WORKER_COMMUNICATION`.
 */
export class WorkerCommunicationError extends ClusterError {}

/** `RESOURCE_EXHAUSTED`: no process, descriptor or memory left for what was asked. */
export class ResourceExhaustionError extends ClusterError {}

/** `CONFIGURATION_INVALID`: nothing was started; all faults are in `details.faults`. */
export class ConfigurationError extends ClusterError {
  readonly details?: { faults: ConfigurationFault[] };
}

/** A health check could not be made. */
export class HealthCheckError extends ClusterError {}
