// @ts-check
'use strict';

// Header lines of drover's in the responses of node:http, added below what the program sees of its response.
//
// Relies on: a response that Bun's server sends has its native part at the symbol 'handle', whose `writeHead` and
// `writeHeadAndEnd` get the headers as their third argument, names and values in turn; all native parts have one prototype.
// `_storeHeader` of a response on another connection makes the text `_header`.
// Seen on: Bun 1.4.4, 1.4.5.

const http = require('node:http');

const CRLF = '\r\n';

/** @typedef {(response: any, header: string) => string} Lines the lines for a response with this header block; '' for none */

/** The response of each native part. @type {WeakMap<object, any>} */
const responses = new WeakMap();

/** The symbol of a response's native part. @type {symbol | undefined} */
let handleSymbol;

/** @param {string} lines @returns {[name: string, value: string][]} */
function parsed(lines) {
  return lines.split(CRLF).filter(Boolean).map((line) => {
    const at = line.indexOf(': ');
    return [line.slice(0, at), line.slice(at + 2)];
  });
}

/** @param {any} prototype of all native parts @param {Lines} linesOf */
function hookHandles(prototype, linesOf) {
  for (const name of ['writeHead', 'writeHeadAndEnd']) {
    const own = prototype[name];
    prototype[name] = function (/** @type {any} */ status, /** @type {any} */ message, /** @type {any} */ headers, /** @type {any[]} */ ...rest) {
      const response = responses.get(this);
      return own.call(this, status, message, response === undefined ? headers : withLines(response, headers, linesOf), ...rest);
    };
  }
}

/** @param {any} response @param {string[] | null | undefined} headers @param {Lines} linesOf */
function withLines(response, headers, linesOf) {
  const given = headers ?? [];
  let block = CRLF;
  for (let at = 0; at < given.length; at += 2) block += `${given[at]}: ${given[at + 1]}${CRLF}`;
  const lines = linesOf(response, block);
  // Bun uses its array again.
  return lines === '' ? headers : [...given, ...parsed(lines).flat()];
}

/** Adds headers to each response. @param {Lines} linesOf */
function addHeaderLines(linesOf) {
  const server = /** @type {any} */ (http.Server.prototype);
  const { emit } = server;
  let isHooked = false;
  server.emit = function (/** @type {any} */ name, /** @type {any} */ request, /** @type {any} */ response) {
    if ((name === 'request' || name === 'checkContinue') && response instanceof http.ServerResponse) {
      handleSymbol ??= Object.getOwnPropertySymbols(response).find(({ description }) => description === 'handle');
      const handle = handleSymbol === undefined ? undefined : /** @type {any} */ (response)[handleSymbol];
      if (handle) {
        if (!isHooked) hookHandles(Object.getPrototypeOf(handle), linesOf);
        isHooked = true;
        responses.set(handle, response);
      }
    }
    return emit.apply(this, arguments);
  };
  const response = /** @type {any} */ (http.ServerResponse.prototype);
  const { _storeHeader: storeHeader } = response;
  response._storeHeader = function (/** @type {string} */ firstLine, /** @type {any} */ headers) {
    storeHeader.call(this, firstLine, headers);
    const lines = linesOf(this, this._header);
    if (lines !== '') this._header = this._header.slice(0, -CRLF.length) + lines + CRLF;
  };
}

module.exports = { addHeaderLines, parsed };
