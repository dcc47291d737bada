// @ts-check
'use strict';

// The protocol of a Node.js server.

const runtime = require('../runtime');

/** The protocol, regardless of TLS: 'http1', 'http2', or '' if it is no HTTP server. @param {any} server */
function protocolOf(server) {
  // Node does not export the classes of HTTP/2 servers; only they have `updateSettings`.
  if (typeof server.updateSettings === 'function') return 'http2';
  return runtime.isHttp1(server) ? 'http1' : '';
}

/**
 * Whether a response of this type is an endless event stream.
 *
 * @param {any} type the value of the Content-Type header
 */
function isEndless(type) {
  return /^\s*(?:text\/event-stream|multipart\/x-mixed-replace)\b/i.test(String(type ?? ''));
}

module.exports = { isEndless, protocolOf };
