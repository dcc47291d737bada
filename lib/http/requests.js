// @ts-check
'use strict';

// What happens for each HTTP request in a worker: it is counted and timed into the shared memory. Plain stores, no
// closure and no listener a request.

const http = require('node:http');
const net = require('node:net');
const { fellSilent, isAnswering, started } = require('./connections');
const { departureOf } = require('./graceful-close');
const { isEventStream } = require('./shutdown-notice');
const { answeredOf } = require('./response-metrics');
const { bytesOf } = require('./connection-bytes');
const { CLOCK, REQUESTS } = require('../metrics/cells');
const { streamsOf } = require('./http2-streams');
const { arrivals, countRequest, hasSettled, isLent } = require('./handoff');
const { tellSlow } = require('./slow-requests');

const now = performance.now.bind(performance);

const SOCKET_IO_HINT =
  'Socket.IO polls through workers that do not know its session. Set loadBalancing.stickySession: true, or use the websocket transport alone.';

/** @param {import('../worker/worker').Worker} worker */
function count(worker) {
  const { cells } = worker;
  const { measured, slow_ms: slowMs } = worker.welcome;
  const tellIfSlow = tellSlow(slowMs);
  const { assignSocket, _finish: finish } = /** @type {any} */ (http.ServerResponse.prototype);
  const { _destroy: destroy } = /** @type {any} */ (net.Socket.prototype);

  const bytes = bytesOf(cells);
  const answered = answeredOf(cells, measured);

  /** @param {any} socket @param {number} status 0: it never reached its client */
  function over(socket, status) {
    const at = now();
    const duration = at - socket[started];
    cells[CLOCK] = at;
    fellSilent(socket, at);
    answered(duration, status, at);
    if (tellIfSlow !== null && duration >= slowMs) {
      const response = socket._httpMessage;
      if (!isEventStream(response)) tellIfSlow(response?.req, duration, status);
    }
    if (measured) bytes.look(socket, at);
  }

  worker.countStreams = streamsOf(cells, answered, tellIfSlow, measured ? bytes : null);

  /** @type {any} */ (http.ServerResponse.prototype).assignSocket = function (/** @type {any} */ socket) {
    cells[REQUESTS] += 1;
    // Within one turn of the loop the last look at the clock will do: what the request has waited for since was
    // work for others. Looking is dearer than all else here.
    socket[started] = cells[CLOCK] || (cells[CLOCK] = now());
    if (arrivals.any) hasSettled(socket);
    if (this._maxRequestsPerSocket > 0 && countRequest(socket, this._maxRequestsPerSocket)) this.shouldKeepAlive = false;
    if (worker.departing > 0 && departureOf(socket.server)?.moves(socket) === false) this.shouldKeepAlive = false;
    return assignSocket.call(this, socket);
  };

  /** @type {any} */ (http.ServerResponse.prototype)._finish = function () {
    const { socket } = this;
    if (socket && isAnswering(socket)) {
      over(socket, this.statusCode);
      if (worker.departing > 0) leaveSoon(socket, this);
      if (arrivals.lent && isLent(socket)) setImmediate(() => worker.giveBack(socket, this));
      else if (worker.owed > 0) setImmediate(() => worker.giveOwed(socket));
      if (this.statusCode === 400 && !worker.welcome.sticky) hintAtSocketIo(worker, this.req);
    }
    return finish.call(this);
  };

  // A response whose connection ends first is never finished.
  /** @type {any} */ (net.Socket.prototype)._destroy = function (
    /** @type {any} */ error,
    /** @type {any} */ callback,
  ) {
    if (isAnswering(this)) over(this, 0);
    if (measured && this._server) bytes.end(this);
    return destroy.call(this, error, callback);
  };
}

/** Once its response is gone a connection may go to another worker. @param {any} socket @param {any} response */
function leaveSoon(socket, response) {
  const departure = departureOf(socket.server);
  if (departure === undefined) return;
  // Who has read a stream of events to its end is about to ask for nothing.
  if (!departure.canMove && isEventStream(response)) socket.destroySoon();
  else setImmediate(() => departure.look());
}

/** @param {import('../worker/worker').Worker} worker @param {any} request */
function hintAtSocketIo(worker, request) {
  const url = request?.url;
  if (typeof url === 'string' && url.startsWith('/socket.io/') && url.includes('sid=')) worker.hint(SOCKET_IO_HINT);
}

module.exports = { count };
