// @ts-check
'use strict';

// The lifecycle of a response of node:http.
//
// Relies on: a response of a server (of node:http2 with `allowHTTP1` too) emits 'socket' when it gets its connection (the
// first of pipelined ones before its request is reported, each other one when it is its turn), 'finish' when its last byte
// was written, and 'close' at the end, all through `ServerResponse.prototype.emit`; `finished` is true once it was ended; the
// connection is `socket` of its request, while its own `socket` can be another object at the end; `socket._httpMessage`, the
// response that a connection carries.
// Seen on: Bun 1.4.4, 1.4.5.

const http = require('node:http');

/** Bun's own, before it is hooked. */
const { emit: ownEmit } = http.ServerResponse.prototype;

/** The current response of a connection. @param {any} socket */
function responseOf(socket) {
  return socket?._httpMessage;
}

/** Called with the connection of a response that ends before it is finished. @type {((socket: any) => void)[]} */
const aborted = [];

/**
 * Calls back with each response of this process when it begins, and when its last byte was written.
 *
 * @param {{ begun: (response: any, socket: any) => void, finished?: (response: any, socket: any) => void }} hooks
 */
function onResponse({ begun, finished = () => {} }) {
  const prototype = /** @type {any} */ (http.ServerResponse.prototype);
  const { emit } = prototype;
  prototype.emit = function (/** @type {any} */ name, /** @type {any} */ socket) {
    if (name === 'socket') begun(this, socket);
    else if (name === 'finish') finished(this, this.req.socket);
    else if (name === 'close' && !this.finished && this.socket) for (const call of aborted) call(this.req.socket);
    return emit.apply(this, arguments);
  };
}

/** Calls back with the connection of a response that ends before it is finished. @param {(socket: any) => void} destroyed */
function onSocketDestroy(destroyed) {
  aborted.push(destroyed);
}

const CRLF = '\r\n';

/** The header block as text, without the first line. @param {any} response @returns {string} */
function headerOf(response) {
  return Object.entries(response.getHeaders()).map(([name, value]) => `${CRLF}${name}: ${value}`).join('') + CRLF;
}

/** How many requests its server accepts on a connection; 0: unlimited. @param {any} response @returns {number} */
function requestLimitOf(response) {
  return response.req.socket?.server?.maxRequestsPerSocket ?? 0;
}

/** A response that `onResponse` does not report. */
class UncountedResponse extends http.ServerResponse {
  /** @override @param {any[]} args */
  emit(...args) {
    return Reflect.apply(ownEmit, this, args);
  }
}

module.exports = { UncountedResponse, headerOf, onResponse, onSocketDestroy, requestLimitOf, responseOf };
