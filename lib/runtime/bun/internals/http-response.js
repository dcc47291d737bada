// @ts-check
'use strict';

// The lifecycle of a response of node:http.
//
// Relies on: a Server (of node:http2 with `allowHTTP1` too, which is a net.Server) emits 'request' with each request through
// its prototype's `emit`, and its response 'finish' when its last byte was written, and 'close' at the end, both through
// `ServerResponse.prototype.emit`; `socket._httpMessage`, the response that a connection
// carries; `_maxRequestsPerSocket`.
// Seen on: Bun 1.4.4, 1.4.5.

const http = require('node:http');
const net = require('node:net');

/** The connection of a response that is not finished. */
const carrier = Symbol('carrier');

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
  const response = /** @type {any} */ (http.ServerResponse.prototype);
  for (const server of /** @type {any[]} */ ([http.Server.prototype, net.Server.prototype])) {
    const { emit } = server;
    server.emit = function (/** @type {any} */ name, /** @type {any} */ request, /** @type {any} */ answer) {
      if ((name === 'request' || name === 'checkContinue') && answer instanceof http.ServerResponse && !(answer instanceof UncountedResponse)) {
        const { socket } = request;
        /** @type {any} */ (answer)[carrier] = socket;
        begun(answer, socket);
      }
      return Reflect.apply(emit, this, arguments);
    };
  }
  const { emit: emitOfResponse } = response;
  response.emit = function (/** @type {any} */ name) {
    if (name === 'finish' || name === 'close') {
      const socket = this[carrier];
      if (socket !== undefined) {
        this[carrier] = undefined;
        if (name === 'finish') finished(this, socket);
        else for (const call of aborted) call(socket);
      }
    }
    return Reflect.apply(emitOfResponse, this, arguments);
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
  return response._maxRequestsPerSocket ?? 0;
}

/** A response that `onResponse` does not report. */
class UncountedResponse extends http.ServerResponse {}

module.exports = { UncountedResponse, headerOf, onResponse, onSocketDestroy, requestLimitOf, responseOf };
