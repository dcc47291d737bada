// @ts-check
'use strict';

// Counts HTTP/2 requests like those of HTTP/1: a stream is a request, and its end is the end of the response.

const { REQUESTS } = require('../metrics/cells');
const symbols = require('../symbols');
const { isEndless, protocolOf } = require('./protocols');

const { begun, headers: headersSymbol, session, uncounted } = symbols.stream;
const { countsStreams } = symbols.server;

/**
 * @param {Float64Array} cells
 * @param {(duration: number, status: number, at: number) => void} countResponse counts a finished response; status 0:
 * it never reached its client
 * @param {import('./slow-requests').Report | null} reportIfSlow
 * @param {{ afterResponse(socket: any, at: number): void } | null} bytes
 * @returns {(server: any) => void} counts the streams of a server, if it has some
 */
function streamCounter(cells, countResponse, reportIfSlow, bytes) {
  /** @this {any} */
  function end() {
    const at = performance.now();
    const isCut = this.aborted || (this.rstCode !== 0 && !this.writableFinished);
    const status = Number((isCut ? 0 : this.sentHeaders?.[':status']) ?? 0);
    const duration = at - this[begun];
    countResponse(duration, status, at);
    // The session has the socket as long as it is open.
    if (bytes !== null && this[session]?.destroyed === false) bytes.afterResponse(this[session].socket, at);
    if (reportIfSlow !== null && !isEndless(this.sentHeaders?.['content-type'])) reportIfSlow(requestOf(this[headersSymbol]), duration, status);
  }

  /** @param {any} stream @param {any} headers */
  function begin(stream, headers) {
    if (stream[uncounted]) return;
    cells[REQUESTS] += 1;
    stream[begun] = performance.now();
    stream[headersSymbol] = headers;
    stream[session] = stream.session;
    stream.on('close', end);
  }

  return (server) => {
    if (server[countsStreams] || protocolOf(server) !== 'http2') return;
    server[countsStreams] = true;
    server.prependListener('stream', begin);
  };
}

/** Excludes a stream that is no client's request, such as a health check. @param {any} stream */
function leaveUncounted(stream) {
  stream[uncounted] = true;
}

/** Whether the stream carries another protocol, like an upgraded connection. @param {any} stream */
function isTunnel(stream) {
  return stream[headersSymbol]?.[':method'] === 'CONNECT';
}

/** @param {any} headers */
function requestOf(headers) {
  return { method: headers?.[':method'], url: headers?.[':path'], headers };
}

module.exports = { isTunnel, leaveUncounted, streamCounter };
