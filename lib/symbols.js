// @ts-check
'use strict';

// drover's own symbols. Those that `Symbol.for` makes are known by their name to every copy of the package in a process,
// and to programs.

/** What is known of a connection, on its socket. */
const socket = {
  /** When the response that it now carries began, milliseconds; between two, when the last one was done, below zero. */
  started: Symbol('drover.started'),
  /** Requests that it has brought, where its server limits them. */
  served: Symbol('drover.served'),
  /** It came from another worker and has sent nothing here yet; false once it has. */
  resuming: Symbol('drover.resuming'),
  /** It goes back to the primary after each response. */
  perRequest: Symbol('drover.perRequest'),
  /** When its bytes were counted last, milliseconds. */
  bytesCountedAt: Symbol('drover.bytesCountedAt'),
  /** The bytes that were counted so far. */
  bytesCounted: Symbol('drover.bytesCounted'),
  /** Since when it is silent, in a process that a worker's program has made with node:cluster; milliseconds. */
  silentSince: Symbol('drover.silentSince'),
};

/** On a server. */
const server = {
  /** It closes while others serve on. */
  gracefulClose: Symbol('drover.gracefulClose'),
  /** Whether its connections carry HTTP. */
  carriesHttp: Symbol('drover.carriesHttp'),
  /** Its HTTP/2 streams are counted. */
  countsStreams: Symbol('drover.countsStreams'),
  /** Its requests and connections are counted, without a cluster. */
  isCounted: Symbol('drover.isCounted'),
  maxConnections: Symbol('drover.maxConnections'),
  dropMaxConnection: Symbol('drover.dropMaxConnection'),
};

/** On an HTTP/2 stream. */
const stream = {
  begun: Symbol('drover.streamBegun'),
  headers: Symbol('drover.streamHeaders'),
  session: Symbol('drover.streamSession'),
  /** Nobody's request. */
  uncounted: Symbol('drover.streamUncounted'),
};

/** On a request or a response. */
const message = {
  /** The id of a request. */
  requestId: Symbol('drover.requestId'),
  /** When a response began, without a cluster; milliseconds. */
  begun: Symbol('drover.begun'),
};

/** On an error: its message was not sent, because its worker is being replaced. */
const workerAway = Symbol('drover.workerAway');

/** Instead of a configuration: the ClusterManager gets its role afterwards. */
const roleLater = Symbol('drover.roleLater');

/** Known to every copy of the package. */
const shared = {
  /** On a socket: a program that must keep a connection in its worker says so, `socket[Symbol.for('drover.pin')] = true`. */
  pin: Symbol.for('drover.pin'),
  /** On a listener of signals: it is drover's. */
  signalListener: Symbol.for('drover.signalListener'),
  /** On `process`: the copy that made it a worker. */
  worker: Symbol.for('drover.worker'),
  /** On `globalThis`: promises that resolve at the end of the process, which the end cannot wait for. */
  ends: Symbol.for('drover.ends'),
  /** On `globalThis`: stops under way. */
  stops: Symbol.for('drover.stops'),
};

module.exports = { message, roleLater, server, shared, socket, stream, workerAway };
