// @ts-check
'use strict';

// The undocumented state of a socket.
//
// Relies on: `socket._handle` (libuv's connection: `fd`, `bytesRead`, `bytesWritten`, `writeQueueSize`), the symbol
// 'owner_symbol' by which a handle refers to its socket, `socket._server` (the net.Server that accepted the
// connection), `socket._parent` (of a TLS socket: the underlying socket), `socket._bytesDispatched`, `socket._destroy`,
// `socket.parser` (of an HTTP/1 connection), `_readableState.ended`, `_writableState.ending`.
// Seen on: Node.js 20, 22, 24, 26.

const net = require('node:net');

/** @type {symbol | undefined} */
let ownerSymbol;

/** The socket of a connection's handle. @param {any} connection */
function socketOf(connection) {
  ownerSymbol ??= Object.getOwnPropertySymbols(connection).find((symbol) => symbol.description === 'owner_symbol');
  return ownerSymbol === undefined ? undefined : connection[ownerSymbol];
}

/** Its descriptor; -1 when it has none. @param {any} socket @returns {number} */
function descriptorOf(socket) {
  return socket._handle?.fd ?? -1;
}

/** Its libuv handle; null if it is closed. @param {any} socket */
function connectionOf(socket) {
  return socket._handle;
}

/** The server that accepted the TCP connection. @param {any} socket */
function acceptorOf(socket) {
  return socket._server;
}

/** The HTTP/1 parser of a server's connection; none after an upgrade. @param {any} socket */
function parserOf(socket) {
  return socket.parser;
}

/** The TCP connection (or pipe) below this socket. @param {any} socket */
function carrierOf(socket) {
  return socket._parent ?? socket;
}

/**
 * Bytes received and sent on a TCP connection. A closed connection keeps its handle's counts, without bytes that were
 * not sent. A connection that is no socket, or whose handle was passed to another process, has no counts.
 *
 * @param {any} connection
 * @returns {{ read: number, written: number }}
 */
function bytesOf(connection) {
  const { _handle: handle } = connection;
  return handle
    ? { read: handle.bytesRead, written: handle.bytesWritten }
    : { read: connection.bytesRead, written: connection._bytesDispatched };
}

/** Whether everything read is consumed, everything written is sent, and neither end has closed. @param {any} socket */
function isAtRest(socket) {
  const { _handle: handle, _readableState: reading, _writableState: writing } = socket;
  return (
    handle?.fd > 0 &&
    !socket.destroyed &&
    !socket.connecting &&
    !reading.ended &&
    !writing.ending &&
    socket.readableLength === 0 &&
    socket.writableLength === 0 &&
    handle.writeQueueSize === 0
  );
}

/** Whether everything written is in the kernel. @param {any} socket */
function isSent(socket) {
  return socket.writableLength === 0 && socket._handle.writeQueueSize === 0;
}

/**
 * Calls back with each socket of this process that is destroyed, before Node releases its handle.
 *
 * @param {(socket: any) => void} destroyed
 */
function onSocketDestroy(destroyed) {
  const prototype = /** @type {any} */ (net.Socket.prototype);
  const { _destroy: destroy } = prototype;
  prototype._destroy = function (/** @type {any} */ error, /** @type {any} */ callback) {
    destroyed(this);
    return destroy.call(this, error, callback);
  };
}

/**
 * Own properties that Node adds to an untouched socket later; the addresses when a program reads them, as loggers do.
 */
const LATE_KEYS = new Set(['_httpMessage', '_peername', '_sockname', 'timeout']);

/** The same of symbols: their descriptions. @type {Set<string>} */
const LATE_SYMBOLS = new Set();

/** The listeners that Node adds later: during a response. */
const LATE_LISTENERS = new Set(['onServerResponseClose']);

/** Node's own listeners of a server for 'connection'. */
const CONNECTION_LISTENERS = 1;

module.exports = {
  CONNECTION_LISTENERS,
  LATE_KEYS,
  LATE_LISTENERS,
  LATE_SYMBOLS,
  acceptorOf,
  bytesOf,
  carrierOf,
  connectionOf,
  descriptorOf,
  isAtRest,
  isSent,
  onSocketDestroy,
  parserOf,
  socketOf,
};
