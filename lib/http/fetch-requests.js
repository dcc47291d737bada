// @ts-check
'use strict';

// Counts and times the requests of handlers that return a Response (`Bun.serve`) on connections that the core cannot follow
// (TLS): such a request has ended when its handler has returned. Reports slow ones.

const { CLOCK, REQUESTS } = require('../metrics/cells');
const runtime = require('../runtime');
const { heapReader, responseCounter } = require('./response-metrics');
const symbols = require('../symbols');
const { slowRequestReporter } = require('./slow-requests');

const { requestId } = symbols.message;
const { isFollowed } = symbols.server;

/** Status of a request that its handler has upgraded to a WebSocket. */
const UPGRADED = 101;

/**
 * Counts requests by their handlers. An upgraded connection is no request: who asks for one is counted once it is refused.
 *
 * @param {Float64Array} cells
 * @param {(duration: number, status: number, at: number) => void} countResponse
 */
function fetchCounter(cells, countResponse) {
  const asksForUpgrade = (/** @type {any} */ request) => request.headers.get('upgrade') !== null;
  return {
    /** @param {any} request */
    begun(request) {
      if (!asksForUpgrade(request)) cells[REQUESTS] += 1;
    },

    /** @param {any} request @param {number} duration milliseconds @param {number} status @param {number} at */
    finished(request, duration, status, at) {
      if (status === UPGRADED) return;
      if (asksForUpgrade(request)) cells[REQUESTS] += 1;
      countResponse(duration, status, at);
    },
  };
}

/** @param {import('../worker/worker').Worker} worker */
function countFetches(worker) {
  const { cells } = worker;
  const virtualListeners = /** @type {import('../worker/virtual-listeners').VirtualListeners} */ (worker.virtualListeners);
  const { measured, slow_ms: slowMs } = worker.hello;
  const reportIfSlow = slowRequestReporter(slowMs);
  const counter = fetchCounter(cells, responseCounter(cells, measured));
  const seeHeap = heapReader(cells, measured);

  runtime.onFetch({
    begun(request, server) {
      if (server[isFollowed] !== true) counter.begun(request);
      return cells[CLOCK] || (cells[CLOCK] = performance.now());
    },

    finished(since, status, request, server) {
      const at = performance.now();
      const duration = at - since;
      cells[CLOCK] = at;
      if (server[isFollowed] === true) seeHeap(at);
      else counter.finished(request, duration, status, at);
      if (reportIfSlow !== null && duration >= slowMs) {
        const { method, url, headers } = request;
        reportIfSlow({ method, url: new URL(url).pathname, headers, [requestId]: request[requestId] }, duration, status);
      }
      return virtualListeners.answered(server, at);
    },
  });
}

module.exports = { countFetches, fetchCounter };
