// @ts-check
'use strict';

// The lifecycle of an HTTP/1 response on its connection.
//
// Relies on: `socket._httpMessage` (the response that a connection carries now), and of a ServerResponse
// `assignSocket(socket)` (it gets its connection), `_finish()` (its last byte was given to the connection),
// `_storeHeader(firstLine, headers)`, which makes `_header`, the text of the header block, `_last` (nothing comes after
// it) and `_maxRequestsPerSocket`. Every way to send headers ends in `_storeHeader`: writeHead, flushHeaders, the first
// write, end. Informational responses (1xx) and trailers do not.
// Seen on: Node.js 20, 22, 24, 26.

const http = require('node:http');

const prototype = /** @type {any} */ (http.ServerResponse.prototype);

/** Node's own ServerResponse, before it is hooked. */
const { assignSocket: ownAssignSocket } = prototype;

const CRLF = '\r\n';

/** The current response of a connection. @param {any} socket */
function responseOf(socket) {
  return socket._httpMessage;
}

/** How many requests its server accepts on a connection; 0: unlimited. @param {any} response @returns {number} */
function requestLimitOf(response) {
  return response._maxRequestsPerSocket;
}

/** The header block as it is sent; null before it is generated. @param {any} response @returns {string | null} */
function headerOf(response) {
  return response._header ?? null;
}

/**
 * Whether this is the connection's last response, as far as known before its headers are generated.
 *
 * @param {any} response
 */
function isLast(response) {
  return response._header === null ? !response.shouldKeepAlive : response._last;
}

/**
 * Calls back with each response of this process when it gets its connection, and when its last byte was passed to the
 * connection.
 *
 * @param {{ begun: (response: any, socket: any) => void, finished?: (response: any, socket: any) => void }} hooks
 */
function onResponse({ begun, finished }) {
  const { assignSocket, _finish: finish } = prototype;
  prototype.assignSocket = function (/** @type {any} */ socket) {
    begun(this, socket);
    return assignSocket.call(this, socket);
  };
  if (finished === undefined) return;
  prototype._finish = function () {
    finished(this, this.socket);
    return finish.call(this);
  };
}

/** Adds lines to the header block of each response. @param {(response: any, header: string) => string} linesOf '' for none */
function addHeaderLines(linesOf) {
  const { _storeHeader: storeHeader } = prototype;
  prototype._storeHeader = function (/** @type {string} */ firstLine, /** @type {any} */ headers) {
    storeHeader.call(this, firstLine, headers);
    const header = this._header;
    const lines = linesOf(this, header);
    if (lines !== '') this._header = header.slice(0, -CRLF.length) + lines + CRLF;
  };
}

/** A response that `onResponse` does not report. */
class UncountedResponse extends http.ServerResponse {
  /** @override @param {any} socket */
  assignSocket(socket) {
    return ownAssignSocket.call(this, socket);
  }
}

module.exports = { UncountedResponse, addHeaderLines, headerOf, isLast, onResponse, requestLimitOf, responseOf };
