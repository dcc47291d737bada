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

/** @param {import('../worker/worker').Worker} worker */
function countFetches(worker) {
  const { cells } = worker;
  const virtualListeners = /** @type {import('../worker/virtual-listeners').VirtualListeners} */ (worker.virtualListeners);
  const { measured, slow_ms: slowMs } = worker.hello;
  const reportIfSlow = slowRequestReporter(slowMs);
  const countResponse = responseCounter(cells, measured);
  const seeHeap = heapReader(cells, measured);

  runtime.onFetch({
    begun(server) {
      if (server[isFollowed] !== true) cells[REQUESTS] += 1;
      return cells[CLOCK] || (cells[CLOCK] = performance.now());
    },

    finished(since, status, request, server) {
      const at = performance.now();
      const duration = at - since;
      cells[CLOCK] = at;
      if (server[isFollowed] === true) seeHeap(at);
      else countResponse(duration, status, at);
      if (reportIfSlow !== null && duration >= slowMs) {
        const { method, url, headers } = request;
        reportIfSlow({ method, url: new URL(url).pathname, headers, [requestId]: request[requestId] }, duration, status);
      }
      return virtualListeners.answered(server, at);
    },
  });
}

module.exports = { countFetches };
