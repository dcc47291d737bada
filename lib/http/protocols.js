// @ts-check
'use strict';

// What a server of Node's speaks.

const http = require('node:http');
const https = require('node:https');

/** TLS aside: 'http1', 'http2', or '' for one that is no HTTP server. @param {any} server */
function protocolOf(server) {
  // Node does not export the classes of HTTP/2 servers; these alone update settings.
  if (typeof server.updateSettings === 'function') return 'http2';
  return server instanceof http.Server || server instanceof https.Server ? 'http1' : '';
}

/** Whether a response of this type has no end of its own: a stream of events. @param {any} type the header's value */
function isEndless(type) {
  return /^\s*(?:text\/event-stream|multipart\/x-mixed-replace)\b/i.test(String(type ?? ''));
}

module.exports = { isEndless, protocolOf };
