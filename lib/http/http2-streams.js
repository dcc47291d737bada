// @ts-check
'use strict';

// HTTP/2 requests, counted as those of HTTP/1 are: a stream is a request, and its end is the response's.

const { REQUESTS } = require('../metrics/cells');
const { isEndless, protocolOf } = require('./protocols');

const begun = Symbol('drover.streamBegun');
const asked = Symbol('drover.streamAsked');
const counted = Symbol('drover.streamsCounted');
const uncounted = Symbol('drover.streamUncounted');
const carrier = Symbol('drover.streamSession');

/**
 * @param {Float64Array} cells
 * @param {(duration: number, status: number, at: number) => void} answered a response is done; status 0: it never
 *   reached its client
 * @param {import('./slow-requests').Look | null} tellIfSlow
 * @param {{ look(socket: any, at: number): void } | null} bytes
 * @returns {(server: any) => void} counts the streams of a server, if it has some
 */
function streamsOf(cells, answered, tellIfSlow, bytes) {
  /** @this {any} */
  function end() {
    const at = performance.now();
    const isCut = this.aborted || (this.rstCode !== 0 && !this.writableFinished);
    const status = isCut ? 0 : this.sentHeaders?.[':status'];
    const duration = at - this[begun];
    answered(duration, Number(status ?? 0), at);
    // Its session knows the connection as long as there is one.
    if (bytes !== null && this[carrier]?.destroyed === false) bytes.look(this[carrier].socket, at);
    if (tellIfSlow !== null && !isEndless(this.sentHeaders?.['content-type'])) tellIfSlow(requestOf(this[asked]), duration, Number(status ?? 0));
  }

  /** @param {any} stream @param {any} headers */
  function begin(stream, headers) {
    if (stream[uncounted]) return;
    cells[REQUESTS] += 1;
    stream[begun] = performance.now();
    stream[asked] = headers;
    stream[carrier] = stream.session;
    stream.on('close', end);
  }

  return (server) => {
    if (server[counted] || protocolOf(server) !== 'http2') return;
    server[counted] = true;
    server.prependListener('stream', begin);
  };
}

/** Nobody's request. @param {any} stream */
function leaveUncounted(stream) {
  stream[uncounted] = true;
}

/** Whether the stream carries another protocol, as an upgraded connection does. @param {any} stream */
function isTunnel(stream) {
  return stream[asked]?.[':method'] === 'CONNECT';
}

/** @param {any} headers */
function requestOf(headers) {
  return { method: headers?.[':method'], url: headers?.[':path'], headers };
}

module.exports = { isTunnel, leaveUncounted, streamsOf };
