// @ts-check
'use strict';

// A process without a cluster is a cluster of one: what its servers answer is counted as a worker's is, into memory of its
// own, and told when somebody asks. Servers are only listened to; two applications of a process are counted as one.

const { answeredOf } = require('./answered');
const { bytesOf } = require('./bytes');
const { unwrap } = require('./errors');
const { addon } = require('./native');
const { protocolOf } = require('./protocols');
const { streamsOf } = require('./streams');

const REQUESTS = 9;
const CLOSED = 8;

const begun = Symbol('drover.begun');
const counted = Symbol('drover.counted');

class Alone {
  constructor() {
    const into = { cells: new ArrayBuffer(0) };
    unwrap(addon.startAlone(into));
    this.cells = new Float64Array(into.cells);
    const { cells } = this;
    const answered = answeredOf(cells, true);
    const bytes = bytesOf(cells);

    /** @param {any} response @param {number} status */
    const over = (response, status) => {
      if (response[begun] === undefined) return;
      const at = performance.now();
      answered(at - response[begun], status, at);
      response[begun] = undefined;
      if (response.req?.socket) bytes.look(response.req.socket, at);
    };
    /** @this {any} */
    function finished() {
      over(this, this.statusCode);
    }
    /** @this {any} */
    function closed() {
      over(this, 0);
    }
    this.request = (/** @type {any} */ request, /** @type {any} */ response) => {
      // HTTP/2 is counted by its streams.
      if (request.httpVersionMajor !== 1) return;
      cells[REQUESTS] += 1;
      response[begun] = performance.now();
      response.on('finish', finished);
      response.on('close', closed);
    };
    /** @this {any} */
    function disconnected() {
      cells[CLOSED] += 1;
      if (this._server) bytes.end(this);
    }
    this.connection = (/** @type {any} */ connection) => {
      addon.aloneOpened();
      connection.on('close', disconnected);
    };
    this.streams = streamsOf(cells, answered, null);
  }

  /** @param {any} server */
  count(server) {
    if (server[counted]) return;
    server[counted] = true;
    server.prependListener('connection', this.connection);
    if (protocolOf(server) === '') return;
    server.prependListener('request', this.request);
    this.streams(server);
  }

  /** @param {'starting' | 'ready' | 'stopping'} state @param {number} port */
  stands(state, port) {
    addon.aloneStands(state, port);
  }

  workers() {
    return addon.aloneTells('workers');
  }

  metrics() {
    return addon.aloneTells('metrics');
  }

  health() {
    return addon.aloneTells('health');
  }
}

/** @type {Alone | null} */
let own = null;

/** This process; null where there is no addon to count with. */
function alone() {
  if (addon === null) return null;
  own ??= new Alone();
  return own;
}

module.exports = { alone };
