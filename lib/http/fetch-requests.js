// @ts-check
'use strict';

// Counts and times the requests of handlers that return a Response (`Bun.serve`), and adds drover's header lines. A request
// has ended when its handler has returned.

const { CLOCK, REQUESTS } = require('../metrics/cells');
const runtime = require('../runtime');
const { responseCounter } = require('./response-metrics');
const { requestId } = require('../symbols').message;
const { slowRequestReporter } = require('./slow-requests');

/** @param {import('../worker/worker').Worker} worker */
function countFetches(worker) {
  const { cells } = worker;
  const virtualListeners = /** @type {import('../worker/virtual-listeners').VirtualListeners} */ (worker.virtualListeners);
  const { measured, slow_ms: slowMs } = worker.hello;
  const reportIfSlow = slowRequestReporter(slowMs);
  const countResponse = responseCounter(cells, measured);

  runtime.onFetch({
    begun() {
      cells[REQUESTS] += 1;
      return cells[CLOCK] || (cells[CLOCK] = performance.now());
    },

    finished(since, status, request, server) {
      const at = performance.now();
      const duration = at - since;
      cells[CLOCK] = at;
      countResponse(duration, status, at);
      if (reportIfSlow !== null && duration >= slowMs) {
        const { method, url, headers } = request;
        reportIfSlow({ method, url: new URL(url).pathname, headers, [requestId]: request[requestId] }, duration, status);
      }
      return virtualListeners.answered(server, at);
    },
  });
}

module.exports = { countFetches };
