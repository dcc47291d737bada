// @ts-check
'use strict';

// A process without a cluster is a cluster of one: its responses are counted like a worker's, in its own memory, and
// read on request. drover only listens to the servers' events; several applications in a process are counted together.

const { byteCounter } = require('../http/connection-bytes');
const { fetchCounter } = require('../http/fetch-requests');
const { CLOSED, REQUESTS } = require('../metrics/cells');
const { unwrap } = require('../errors');
const { addon } = require('../native');
const { protocolOf } = require('../http/protocols');
const { streamCounter } = require('../http/http2-streams');
const { responseCounter } = require('../http/response-metrics');
const runtime = require('../runtime');
const symbols = require('../symbols');

const { begun } = symbols.message;
const { isCounted } = symbols.server;

class SingleProcess {
  constructor() {
    const into = { cells: new ArrayBuffer(0) };
    unwrap(addon.startSingleProcess(into));
    this.cells = new Float64Array(into.cells);
    runtime.followCollections(addon.countCollection);
    const { cells } = this;
    const countResponse = responseCounter(cells, true);
    const bytes = byteCounter(cells);

    /** @param {any} response @param {number} status */
    const over = (response, status) => {
      if (response[begun] === undefined) return;
      const at = performance.now();
      countResponse(at - response[begun], status, at);
      response[begun] = undefined;
      const socket = response.req?.socket;
      if (socket) bytes.afterResponse(socket, at);
    };
    /** @this {any} */
    function finished() {
      over(this, this.statusCode);
    }
    /** @this {any} */
    function closed() {
      over(this, 0);
    }
    /** @this {any} */
    function begin() {
      cells[REQUESTS] += 1;
      this[begun] = performance.now();
      this.on('finish', finished);
      this.on('close', closed);
    }
    this.request = (/** @type {any} */ request, /** @type {any} */ response) => {
      // HTTP/2 requests are counted per stream.
      if (request.httpVersionMajor !== 1) return;
      // A pipelined request gets the socket when the requests before it are answered; some never get it.
      if (response.socket) begin.call(response);
      else response.once('socket', begin);
    };
    /** @this {any} */
    function disconnected() {
      cells[CLOSED] += 1;
      bytes.end(this);
    }
    this.connection = (/** @type {any} */ connection) => {
      addon.singleProcessOpened();
      connection.on('close', disconnected);
    };
    if (runtime.acceptsItself) {
      const counter = fetchCounter(cells, countResponse);
      runtime.onFetch({
        begun(request) {
          counter.begun(request);
          return performance.now();
        },
        finished(since, status, request) {
          const at = performance.now();
          counter.finished(request, at - since, status, at);
          return false;
        },
      });
    }
    this.streams = streamCounter(cells, countResponse, null, bytes);
  }

  /** @param {any} server */
  count(server) {
    if (server[isCounted]) return;
    server[isCounted] = true;
    server.prependListener('connection', this.connection);
    if (protocolOf(server) === '') return;
    server.prependListener('request', this.request);
    // If the program listens to these events, they replace 'request'; if it does not, a listener would change what Node
    // does.
    for (const event of ['checkContinue', 'checkExpectation']) {
      if (server.listenerCount(event) > 0) server.prependListener(event, this.request);
    }
    this.streams(server);
  }

  /** @param {'starting' | 'ready' | 'stopping'} state @param {number} port */
  setState(state, port) {
    addon.singleProcessState(state, port);
  }

  workers() {
    return addon.singleProcessView('workers');
  }

  metrics() {
    return addon.singleProcessView('metrics');
  }

  health() {
    return addon.singleProcessView('health');
  }
}

/** null: not created yet; undefined: this process cannot be measured. @type {SingleProcess | null | undefined} */
let own = addon === null ? undefined : null;

/** This process; undefined if it cannot be measured, which does not prevent serving. */
function singleProcess() {
  if (own === null) {
    try {
      own = new SingleProcess();
    } catch (error) {
      own = undefined;
      console.warn(`drover: nothing is measured in this process: ${/** @type {Error} */ (error).message}`);
    }
  }
  return own;
}

module.exports = { singleProcess };
