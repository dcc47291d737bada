// @ts-check
'use strict';

// Per-request work in a worker: requests are counted and timed in shared memory, with plain stores, without a closure
// or a listener per request.

const { CLOCK, REQUESTS } = require('../metrics/cells');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { Admission } = require('./admission');
const { byteCounter } = require('./connection-bytes');
const { fellSilent, isAnswering } = require('./connections');
const { gracefulCloseOf } = require('./graceful-close');
const { arrivals, countRequest, endResume, isRoutedPerRequest } = require('./handoff');
const { streamCounter } = require('./http2-streams');
const { heapReader, responseCounter } = require('./response-metrics');
const { isEventStream } = require('./shutdown-notice');
const { slowRequestReporter } = require('./slow-requests');

const { isFollowed, started } = symbols.socket;
const { isRefused } = symbols.message;

// Called as a method: a bound function costs a third more, and this is the most expensive call here.
const clock = performance;
const now = () => clock.now();

const SOCKET_IO_HINT =
  'Socket.IO polls through workers that do not know its session. Set loadBalancing.stickySession: true, or use the websocket transport alone.';

/**
 * Starts counting every HTTP request of this process.
 *
 * @param {import('../worker/worker').Worker} worker
 * @returns {(server: any) => void} counts the streams of an HTTP/2 server
 */
function countRequests(worker) {
  const { cells, connections, virtualListeners } = worker;
  const { measured, slow_ms: slowMs, sticky } = worker.hello;
  const reportIfSlow = slowRequestReporter(slowMs);
  // The core counts those of a runtime that accepts by itself.
  const bytes = measured && virtualListeners === null ? byteCounter(cells) : null;
  const countResponse = responseCounter(cells, measured);
  const seeHeap = heapReader(cells, measured);
  /** Null: never enabled. @type {import('./admission').Admission | null} */
  let admission = null;
  worker.setAdmission = (settings) => {
    if (settings !== null) admission ??= new Admission(cells, () => connections.closing.size > 0);
    admission?.configure(settings);
  };
  worker.setAdmission(worker.hello.admission);
  const isCountedByCore = virtualListeners === null ? () => false : (/** @type {any} */ socket) => socket[isFollowed] === true;

  /** @param {any} socket @param {number} status 0: it never reached its client */
  function end(socket, status) {
    const isCounted = isCountedByCore(socket);
    // The core has read the clock when it saw the response.
    const at = (isCounted && cells[CLOCK]) || now();
    const duration = at - socket[started];
    cells[CLOCK] = at;
    fellSilent(socket, at);
    if (isCounted) seeHeap(at);
    else countResponse(duration, status, at);
    if (reportIfSlow !== null && duration >= slowMs) {
      const response = runtime.responseOf(socket);
      if (!isEventStream(response)) reportIfSlow(response?.req, duration, status);
    }
    if (bytes !== null) bytes.afterResponse(socket, at);
  }

  runtime.onResponse({
    begun(response, socket) {
      if (admission === null || !admission.consider(response, socket)) {
        if (!isCountedByCore(socket)) cells[REQUESTS] += 1;
        // Within one event-loop iteration the previous clock reading is used: the time since then was spent on other
        // requests. Reading the clock is the most expensive operation here.
        socket[started] = cells[CLOCK] || (cells[CLOCK] = now());
      }
      if (arrivals.any) endResume(socket);
      const limit = runtime.requestLimitOf(response);
      if (limit > 0 && countRequest(socket, limit)) response.shouldKeepAlive = false;
      if (connections.closing.size > 0 && gracefulCloseOf(socket.server)?.moves(socket) === false) response.shouldKeepAlive = false;
    },

    finished(response, socket) {
      if (!socket) return;
      if (isAnswering(socket)) end(socket, response.statusCode);
      else if (response[isRefused] === true) fellSilent(socket, cells[CLOCK] || now());
      else return;
      if (connections.closing.size > 0) leaveSoon(socket, response);
      if (virtualListeners !== null) virtualListeners.responded(socket);
      else if (arrivals.perRequest && isRoutedPerRequest(socket)) setImmediate(() => connections.returnToPrimary(socket, response));
      else if (connections.isRebalancing) setImmediate(() => connections.handOffPending(socket));
      if (response.statusCode === 400 && !sticky) hintAtSocketIo(worker, response.req);
    },
  });

  // A response whose connection ends first never emits 'finish'.
  runtime.onSocketDestroy((socket) => {
    if (isAnswering(socket)) end(socket, 0);
    if (bytes !== null) bytes.end(socket);
  });

  return streamCounter(cells, countResponse, reportIfSlow, bytes);
}

/** Once its response is sent, a connection may be handed off. @param {any} socket @param {any} response */
function leaveSoon(socket, response) {
  const closing = gracefulCloseOf(socket.server);
  if (closing === undefined) return;
  // After an event stream the client will not send another request soon.
  if (!closing.canMove && isEventStream(response)) socket.destroySoon();
  else setImmediate(() => closing.look());
}

/** @param {import('../worker/worker').Worker} worker @param {any} request */
function hintAtSocketIo(worker, request) {
  const url = request?.url;
  if (typeof url === 'string' && url.startsWith('/socket.io/') && url.includes('sid=')) worker.hint(SOCKET_IO_HINT);
}

module.exports = { countRequests };
