// @ts-check
'use strict';

// Whether this worker is well. The primary asks: its first HTTP server gets a request over a connection of its own
// (no port, no TLS, counted nowhere), and the program's `customCheck` is run.

const http = require('node:http');
const net = require('node:net');
const tls = require('node:tls');
const { inspect } = require('node:util');
const { addon } = require('../native');
const { given } = require('../options');
const { protocolOf } = require('../http/protocols');
const { leaveUncounted } = require('../http/http2-streams');

/** As it is before anything is counted. */
const { assignSocket } = /** @type {any} */ (http.ServerResponse.prototype);

/** The response to a probe: nobody's request. */
class Uncounted extends http.ServerResponse {
  /** @override @param {any} socket */
  assignSocket(socket) {
    return assignSocket.call(this, socket);
  }
}

/** @param {any} server @param {string} protocol */
function insideOf(server, protocol) {
  if (protocol === 'http2') {
    const inside = require('node:http2').createServer();
    inside.on('stream', (stream, ...rest) => {
      leaveUncounted(stream);
      server.emit('stream', stream, ...rest);
    });
    // The primary leaves when it knows the status.
    inside.on('sessionError', () => {});
    return inside;
  }
  return http.createServer({ ServerResponse: Uncounted }, (request, response) => server.emit('request', request, response));
}

class Checks {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** The program's own check. @type {((info: any) => any) | null} */
    this.custom = null;
    /** What the primary knows of the first HTTP server. */
    this.told = '';
    /** Servers that no port leads to, by the one behind each. @type {WeakMap<object, any>} */
    this.insides = new WeakMap();
  }

  /** Takes over what the program's options say. @param {any} options createServer's, or a ClusterConfig */
  heed(options) {
    this.custom = given(options, 'healthCheck', 'customCheck') ?? this.custom;
  }

  /** The first HTTP server. @returns {any} */
  server() {
    for (const server of this.worker.servers()) if (protocolOf(server) !== '') return server;
    return undefined;
  }

  /** A server has come or gone. */
  follow() {
    if (!this.worker.welcome.checked) return;
    const server = this.server();
    const protocol = server === undefined ? '' : protocolOf(server);
    if (protocol === this.told) return;
    this.told = protocol;
    addon.workerSpeaks(protocol);
  }

  /** The primary asks. */
  begin() {
    for (let check = addon.workerCheck(); check !== null; check = addon.workerCheck()) {
      if (check.fd !== null) this.probe(check.fd, check.protocol);
      void this.ask(check.number);
    }
  }

  /** @param {number} fd @param {string} protocol */
  probe(fd, protocol) {
    const server = this.server();
    // Another has become the first meanwhile: the primary has been told.
    if (server === undefined || protocolOf(server) !== protocol) return addon.closeDescriptor(fd);
    const socket = /** @type {any} */ (new net.Socket({ fd, readable: true, writable: true }));
    if (server instanceof tls.Server) socket.encrypted = true;
    let inside = this.insides.get(server);
    if (inside === undefined) {
      inside = insideOf(server, protocol);
      this.insides.set(server, inside);
    }
    inside.emit('connection', socket);
  }

  /** @param {number} number the check's */
  async ask(number) {
    let failure = null;
    let metrics = null;
    if (this.custom !== null) {
      try {
        const answer = await this.custom(this.info());
        const healthy = answer !== null && typeof answer === 'object' ? answer.healthy : answer;
        metrics = this.asJson(answer?.metrics);
        if (healthy === false) failure = 'customCheck says no';
        else if (healthy !== true) failure = `customCheck answered ${inspect(answer, { depth: 0 })}; true, false or { healthy } is expected`;
      } catch (error) {
        failure = `customCheck threw: ${error instanceof Error ? error.message : inspect(error)}`;
      }
    }
    addon.workerChecked(number, failure, metrics);
  }

  /** What the program measured, as JSON holds it. @param {any} metrics */
  asJson(metrics) {
    try {
      return JSON.parse(JSON.stringify(metrics ?? null) ?? 'null');
    } catch (error) {
      this.worker.hint(`The metrics of customCheck are left out, for they are no JSON: ${error instanceof Error ? error.message : error}`);
      return null;
    }
  }

  /** This worker's WorkerInfo. */
  info() {
    return addon.workerInfos().find((/** @type {any} */ info) => info.id === this.worker.id);
  }
}

module.exports = { Checks };
