// @ts-check
'use strict';

// What happens for each HTTP request in a worker: it is counted and timed into the shared memory, and gets the
// headers that the configuration asks for. Plain stores, no closure and no listener a request.

const http = require('node:http');
const net = require('node:net');
const { fellSilent, isAnswering, started } = require('./connections');
const { departureOf } = require('./departure');
const { answeredOf } = require('./answered');
const { bytesOf } = require('./bytes');
const { AFFINITY_MISMATCH, CLOCK, REQUESTS } = require('./cells');
const { streamsOf } = require('./streams');
const { arrivals, countRequest, hasSettled, isLent } = require('./handoff');
const { addon } = require('./native');
const { tellSlow } = require('./slow-requests');

const now = performance.now.bind(performance);

const SOCKET_IO_HINT =
  'Socket.IO polls through workers that do not know its session. Set loadBalancing.stickySession: true, or use the websocket transport alone.';

/** @param {import('./worker').Worker} worker */
function count(worker) {
  const { cells } = worker;
  const { measured, slow_ms: slowMs } = worker.welcome;
  const tellIfSlow = tellSlow(slowMs);
  const dress = dresserOf(worker);
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
    if (tellIfSlow !== null) tellIfSlow(socket._httpMessage?.req, duration, status);
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
    // Of requests in one go, a later one may have been answered before its turn to be sent.
    if (dress !== null && !this.headersSent) dress(this);
    return assignSocket.call(this, socket);
  };

  /** @type {any} */ (http.ServerResponse.prototype)._finish = function () {
    const { socket } = this;
    if (socket && isAnswering(socket)) {
      over(socket, this.statusCode);
      if (worker.departing > 0) leaveSoon(socket);
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

/** Once its response is gone a connection may go to another worker. @param {any} socket */
function leaveSoon(socket) {
  const departure = departureOf(socket.server);
  if (departure !== undefined) setImmediate(() => departure.look());
}

/** @param {import('./worker').Worker} worker @param {any} request */
function hintAtSocketIo(worker, request) {
  const url = request?.url;
  if (typeof url === 'string' && url.startsWith('/socket.io/') && url.includes('sid=')) worker.hint(SOCKET_IO_HINT);
}

/**
 * What is put on responses beyond what the application says; null when that is nothing.
 *
 * @param {import('./worker').Worker} worker
 * @returns {((response: any) => void) | null}
 */
function dresserOf(worker) {
  const { worker_headers: headers, affinity } = worker.welcome;
  if (!headers && !affinity) return null;
  const pid = String(process.pid);
  return (response) => {
    if (headers) {
      response.setHeader('X-Worker-ID', worker.id);
      response.setHeader('X-Worker-PID', pid);
    }
    if (affinity) bind(worker, affinity, response);
  };
}

/**
 * Gives a client without a valid affinity cookie one that names this worker's slot.
 *
 * @param {import('./worker').Worker} worker
 * @param {{ name: string, value: string, attributes: string, key: string }} affinity
 * @param {any} response
 */
function bind(worker, affinity, response) {
  const value = cookieOf(response.req?.headers.cookie, affinity.name);
  if (value === affinity.value) return;
  if (value !== undefined && addon.affinitySlot(value, affinity.key) >= 0) {
    // A connection that several clients share (a proxy's), or a slot that could not take it: the client stays
    // with the slot it knows.
    worker.cells[AFFINITY_MISMATCH] += 1;
    worker.hint(
      'A request came to another worker than its affinity cookie names: its connection was shared or its worker away.',
    );
    return;
  }
  const line = `${affinity.name}=${affinity.value}${affinity.attributes}`;
  const { writeHead } = response;
  response.writeHead = function (/** @type {any[]} */ ...args) {
    const own = args.at(-1);
    const more = own !== null && typeof own === 'object' ? withCookie(own, line) : null;
    if (more === null) this.appendHeader('Set-Cookie', line);
    else args[args.length - 1] = more;
    return writeHead.apply(this, args);
  };
}

/**
 * Headers with the cookie, where they hold cookies or are a list; null where it can be set beside them. The program's own
 * stay as they are: it may give the same ones with every response.
 *
 * @param {any} headers @param {string} line
 */
function withCookie(headers, line) {
  if (Array.isArray(headers)) {
    return Array.isArray(headers[0]) ? [...headers, ['Set-Cookie', line]] : [...headers, 'Set-Cookie', line];
  }
  const name = Object.keys(headers).find((key) => key.toLowerCase() === 'set-cookie');
  return name === undefined ? null : { ...headers, [name]: [headers[name]].flat().concat(line) };
}

/** @param {string | undefined} header @param {string} name */
function cookieOf(header, name) {
  if (header === undefined) return undefined;
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

module.exports = { count };
