// @ts-check
'use strict';

// The state of a socket that Node does not document.
//
// Relies on: `socket._handle` (libuv's connection: `fd`, `bytesRead`, `bytesWritten`, `writeQueueSize`), the symbol
// 'owner_symbol' by which a handle names its socket, `socket._server` (of a connection that a net.Server took),
// `socket._parent` (of a TLS socket: the one below), `socket._bytesDispatched`, `socket._destroy`, `socket.parser` (of an
// HTTP/1 connection), `_readableState.ended`, `_writableState.ending`.
// Seen on: Node.js 20, 22, 24, 26.

const net = require('node:net');

/** @type {symbol | undefined} */
let ownerSymbol;

/** The socket over a connection's handle. @param {any} connection */
function socketOf(connection) {
  ownerSymbol ??= Object.getOwnPropertySymbols(connection).find((symbol) => symbol.description === 'owner_symbol');
  return ownerSymbol === undefined ? undefined : connection[ownerSymbol];
}

/** Its descriptor; -1 when it has none. @param {any} socket @returns {number} */
function descriptorOf(socket) {
  return socket._handle?.fd ?? -1;
}

/** Libuv's side of it; null when it is closed. @param {any} socket */
function connectionOf(socket) {
  return socket._handle;
}

/** The server that took the connection from the operating system. @param {any} socket */
function acceptorOf(socket) {
  return socket._server;
}

/** The HTTP/1 parser of a server's connection; one that has left HTTP behind has none. @param {any} socket */
function parserOf(socket) {
  return socket.parser;
}

/** The connection of the operating system that carries this socket. @param {any} socket */
function carrierOf(socket) {
  return socket._parent ?? socket;
}

/**
 * Bytes that a connection of the operating system has brought and taken. One that is over has kept its handle's figures;
 * what it was still to send is not in them. A connection that is no socket has none, and one whose handle went to another
 * process no longer.
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

/** Nothing was read that is not used, nothing written that is not sent, and neither end has closed. @param {any} socket */
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

/** Everything that was written is in the kernel. @param {any} socket */
function isSent(socket) {
  return socket.writableLength === 0 && socket._handle.writeQueueSize === 0;
}

/** Calls back with each socket of this process that is destroyed, before Node lets go of it. @param {(socket: any) => void} destroyed */
function onSocketDestroy(destroyed) {
  const prototype = /** @type {any} */ (net.Socket.prototype);
  const { _destroy: destroy } = prototype;
  prototype._destroy = function (/** @type {any} */ error, /** @type {any} */ callback) {
    destroyed(this);
    return destroy.call(this, error, callback);
  };
}

/** Own properties that Node adds to an untouched socket by and by; the addresses when a program looks at them, as loggers do. */
const LATE_KEYS = new Set(['_httpMessage', '_peername', '_sockname', 'timeout']);

/** What Node adds to its listeners for the time of a response. */
const RESPONSE_LISTENER = 'onServerResponseClose';

module.exports = {
  LATE_KEYS,
  RESPONSE_LISTENER,
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
