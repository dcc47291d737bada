// @ts-check
'use strict';

// drover's own symbols. Those created by `Symbol.for` are shared by name between all copies of the package in a
// process, and with programs.

/** State of a connection, on its socket. */
const socket = {
  /**
   * When the current response began, milliseconds; between two responses the negated time at which the last one
   * finished.
   */
  started: Symbol('drover.started'),
  /** Number of requests so far, if the server limits them. */
  served: Symbol('drover.served'),
  /** True if it was handed off to this worker and has sent nothing here yet; false once it has. */
  resuming: Symbol('drover.resuming'),
  /** The core's id of a connection that a runtime has accepted by itself. */
  connectionId: Symbol('drover.connectionId'),
  /** Set if the core counts its requests. */
  isFollowed: Symbol('drover.isFollowed'),
  /** Set if it returns to the primary after each response. */
  perRequest: Symbol('drover.perRequest'),
  /** When its bytes were last counted, milliseconds. */
  bytesCountedAt: Symbol('drover.bytesCountedAt'),
  /** The bytes that were counted so far. */
  bytesCounted: Symbol('drover.bytesCounted'),
  /** Since when it is idle, in a process that a worker's program has forked with node:cluster; milliseconds. */
  silentSince: Symbol('drover.silentSince'),
};

/** On a server. */
const server = {
  /** The GracefulClose of a server that closes while other workers keep serving. */
  gracefulClose: Symbol('drover.gracefulClose'),
  /** Whether its connections carry HTTP. */
  carriesHttp: Symbol('drover.carriesHttp'),
  /** Set once its HTTP/2 streams are counted. */
  countsStreams: Symbol('drover.countsStreams'),
  /** Set once its requests and connections are counted, without a cluster. */
  isCounted: Symbol('drover.isCounted'),
  /** Set if the core counts the requests of its connections. */
  isFollowed: Symbol('drover.isFollowed'),
  maxConnections: Symbol('drover.maxConnections'),
  /** Set on a server that gives health checks to the program's. */
  isProbeServer: Symbol('drover.isProbeServer'),
  dropMaxConnection: Symbol('drover.dropMaxConnection'),
};

/** On an HTTP/2 stream. */
const stream = {
  begun: Symbol('drover.streamBegun'),
  headers: Symbol('drover.streamHeaders'),
  session: Symbol('drover.streamSession'),
  /** Set on streams that are no client's request. */
  uncounted: Symbol('drover.streamUncounted'),
};

/** On a request or a response. */
const message = {
  /** The id of a request. */
  requestId: Symbol('drover.requestId'),
  /** Set on a response that is drover's own, because its request has waited too long. */
  isRefused: Symbol('drover.isRefused'),
  /** Set on a response, or on the socket of an upgrade, once the program has its request, with adaptive admission. */
  isOffered: Symbol('drover.isOffered'),
  /** When a response began, without a cluster; milliseconds. */
  begun: Symbol('drover.begun'),
};

/** On an error: the message was not sent because its worker is being replaced. */
const workerAway = Symbol('drover.workerAway');

/** Passed instead of a configuration to a ClusterManager that gets its role later. */
const roleLater = Symbol('drover.roleLater');

/** Shared by all copies of the package. */
const shared = {
  /**
   * On a socket: the program sets it to keep the connection in its worker, `socket[Symbol.for('drover.pin')] = true`.
   */
  pin: Symbol.for('drover.pin'),
  /** On a signal listener: it is drover's. */
  signalListener: Symbol.for('drover.signalListener'),
  /** On `process`: the copy of the package that made it a worker. */
  worker: Symbol.for('drover.worker'),
  /** On `globalThis`: promises that resolve when the process stops, so the stop must not wait for them. */
  ends: Symbol.for('drover.ends'),
  /** On `globalThis`: pending stops. */
  stops: Symbol.for('drover.stops'),
};

module.exports = { message, roleLater, server, shared, socket, stream, workerAway };
