// @ts-check
'use strict';

// What happens for each HTTP request in a worker: it is counted and timed into the shared memory. Plain stores, no
// closure and no listener a request.

const { CLOCK, REQUESTS } = require('../metrics/cells');
const runtime = require('../runtime');
const { started } = require('../symbols').socket;
const { byteCounter } = require('./connection-bytes');
const { fellSilent, isAnswering } = require('./connections');
const { gracefulCloseOf } = require('./graceful-close');
const { arrivals, countRequest, endResume, isRoutedPerRequest } = require('./handoff');
const { streamCounter } = require('./http2-streams');
const { responseCounter } = require('./response-metrics');
const { isEventStream } = require('./shutdown-notice');
const { slowRequestReporter } = require('./slow-requests');

// Called on its object: a bound function costs a third more, and nothing else here costs as much.
const clock = performance;
const now = () => clock.now();

const SOCKET_IO_HINT =
  'Socket.IO polls through workers that do not know its session. Set loadBalancing.stickySession: true, or use the websocket transport alone.';

/**
 * Counts every HTTP request of this process from now on.
 *
 * @param {import('../worker/worker').Worker} worker
 * @returns {(server: any) => void} counts the streams of an HTTP/2 server
 */
function countRequests(worker) {
  const { cells, connections } = worker;
  const { measured, slow_ms: slowMs, sticky } = worker.hello;
  const reportIfSlow = slowRequestReporter(slowMs);
  const bytes = byteCounter(cells);
  const countResponse = responseCounter(cells, measured);

  /** @param {any} socket @param {number} status 0: it never reached its client */
  function end(socket, status) {
    const at = now();
    const duration = at - socket[started];
    cells[CLOCK] = at;
    fellSilent(socket, at);
    countResponse(duration, status, at);
    if (reportIfSlow !== null && duration >= slowMs) {
      const response = runtime.responseOf(socket);
      if (!isEventStream(response)) reportIfSlow(response?.req, duration, status);
    }
    if (measured) bytes.afterResponse(socket, at);
  }

  runtime.onResponse({
    begun(response, socket) {
      cells[REQUESTS] += 1;
      // Within one turn of the loop the last look at the clock will do: what the request has waited for since was
      // work for others. Looking is dearer than all else here.
      socket[started] = cells[CLOCK] || (cells[CLOCK] = now());
      if (arrivals.any) endResume(socket);
      const limit = runtime.requestLimitOf(response);
      if (limit > 0 && countRequest(socket, limit)) response.shouldKeepAlive = false;
      if (connections.closing.size > 0 && gracefulCloseOf(socket.server)?.moves(socket) === false) response.shouldKeepAlive = false;
    },

    finished(response) {
      const { socket } = response;
      if (!socket || !isAnswering(socket)) return;
      end(socket, response.statusCode);
      if (connections.closing.size > 0) leaveSoon(socket, response);
      if (arrivals.perRequest && isRoutedPerRequest(socket)) setImmediate(() => connections.returnToPrimary(socket, response));
      else if (connections.isRebalancing) setImmediate(() => connections.handOffPending(socket));
      if (response.statusCode === 400 && !sticky) hintAtSocketIo(worker, response.req);
    },
  });

  // A response whose connection ends first is never finished.
  runtime.onSocketDestroy((socket) => {
    if (isAnswering(socket)) end(socket, 0);
    if (measured) bytes.end(socket);
  });

  return streamCounter(cells, countResponse, reportIfSlow, measured ? bytes : null);
}

/** Once its response is gone a connection may go to another worker. @param {any} socket @param {any} response */
function leaveSoon(socket, response) {
  const closing = gracefulCloseOf(socket.server);
  if (closing === undefined) return;
  // Who has read a stream of events to its end is about to ask for nothing.
  if (!closing.canMove && isEventStream(response)) socket.destroySoon();
  else setImmediate(() => closing.look());
}

/** @param {import('../worker/worker').Worker} worker @param {any} request */
function hintAtSocketIo(worker, request) {
  const url = request?.url;
  if (typeof url === 'string' && url.startsWith('/socket.io/') && url.includes('sid=')) worker.hint(SOCKET_IO_HINT);
}

module.exports = { countRequests };
