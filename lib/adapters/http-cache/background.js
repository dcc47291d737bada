// @ts-check
'use strict';

// A request without a client, by which a program makes a response again while its old one is in use.

const { IncomingMessage, ServerResponse } = require('node:http');
const { Duplex } = require('node:stream');

/** Of the client that was answered with the old response; the rest of its request is asked again. */
const NOT_AGAIN = ['cache-control', 'if-match', 'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since', 'pragma'];

/** What programs read of a socket. @param {any} socket */
function standIn(socket) {
  const made = new Duplex({
    read() {},
    write: (_chunk, _encoding, written) => written(),
  });
  const { remoteAddress, remoteFamily, remotePort, localAddress, localPort, encrypted } = socket ?? {};
  return Object.assign(made, { remoteAddress, remoteFamily, remotePort, localAddress, localPort, encrypted });
}

/**
 * A pair that asks again what a client has asked; nobody reads the response.
 *
 * @param {any} request
 * @param {string} url as the client has sent it
 */
function again(request, url) {
  const made = new IncomingMessage(/** @type {any} */ (standIn(request.socket)));
  made.method = 'GET';
  made.url = url;
  made.httpVersion = '1.1';
  made.httpVersionMajor = 1;
  made.httpVersionMinor = 1;
  made.headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !NOT_AGAIN.includes(name) && !name.startsWith(':')));
  if (made.headers.host === undefined && request.headers[':authority'] !== undefined) made.headers.host = String(request.headers[':authority']);
  made.rawHeaders = Object.entries(made.headers).flatMap(([name, value]) => [value ?? ''].flat().flatMap((one) => [name, one]));
  made.complete = true;
  made.push(null);
  return { request: made, response: new ServerResponse(made) };
}

module.exports = { again };
