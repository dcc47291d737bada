// @ts-check
'use strict';

// Health checks of this worker, requested by the primary: its first HTTP server gets a request over a direct connection
// (without a port or TLS, not counted in metrics), and the program's `customCheck` is run.

const http = require('node:http');
const { inspect } = require('node:util');
const { addon } = require('../native');
const runtime = require('../runtime');
const { given } = require('../options');
const { protocolOf } = require('../http/protocols');
const { leaveUncounted } = require('../http/http2-streams');
const { isProbeServer } = require('../symbols').server;

/** @param {any} server @param {string} protocol */
function probeServerOf(server, protocol) {
  if (protocol === 'http2') {
    const probed = /** @type {any} */ (require('node:http2').createServer());
    probed[isProbeServer] = true;
    probed.on('stream', (/** @type {any} */ stream, /** @type {any[]} */ ...rest) => {
      leaveUncounted(stream);
      server.emit('stream', stream, ...rest);
    });
    // The primary closes the connection when it knows the status.
    probed.on('sessionError', () => {});
    return probed;
  }
  return http.createServer({ ServerResponse: runtime.UncountedResponse }, (request, response) => server.emit('request', request, response));
}

class HealthChecks {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** The program's own check. @type {((info: any) => any) | null} */
    this.custom = null;
    /** The protocol of the first HTTP server, as last reported to the primary. */
    this.announced = '';
    /** Servers without a port for probes, by the program's server. @type {WeakMap<object, any>} */
    this.probeServers = new WeakMap();
  }

  /** Applies the program's options. @param {any} options createServer's, or a ClusterConfig */
  configure(options) {
    this.custom = given(options, 'healthCheck', 'customCheck') ?? this.custom;
  }

  /** The first HTTP server that can be probed. @returns {any} */
  server() {
    return this.worker.connections.servers().find((server) => protocolOf(server) !== '' && this.#canProbe(server));
  }

  /** The runtime's own virtual listener has no way around TLS. @param {any} server */
  #canProbe(server) {
    return runtime.takesSockets(server) || !runtime.isEncrypted(server);
  }

  /** Reports a changed first server to the primary. */
  followServers() {
    if (!this.worker.hello.checked) return;
    const server = this.server();
    const protocol = server === undefined ? '' : protocolOf(server);
    if (protocol === this.announced) return;
    this.announced = protocol;
    addon.workerSpeaks(protocol);
  }

  /** Handles the primary's requests. */
  run() {
    for (let check = addon.workerCheck(); check !== null; check = addon.workerCheck()) {
      if (check.fd !== null) this.probe(check.fd, check.protocol);
      void this.runCustom(check.number);
    }
  }

  /** @param {number} fd @param {string} protocol */
  probe(fd, protocol) {
    const server = this.server();
    // Another server has become the first meanwhile; the primary has been notified.
    if (server === undefined || protocolOf(server) !== protocol) return addon.closeDescriptor(fd);
    if (!runtime.takesSockets(server)) {
      this.worker.virtualListeners?.probe(server, fd);
      return;
    }
    const socket = /** @type {any} */ (runtime.openSocket(fd));
    if (runtime.isEncrypted(server)) socket.encrypted = true;
    let probed = this.probeServers.get(server);
    if (probed === undefined) {
      probed = probeServerOf(server, protocol);
      this.probeServers.set(server, probed);
    }
    probed.emit('connection', socket);
  }

  /** @param {number} number of the check */
  async runCustom(number) {
    let failure = null;
    let metrics = null;
    if (this.custom !== null) {
      try {
        const answer = await this.custom(this.info());
        const healthy = answer !== null && typeof answer === 'object' ? answer.healthy : answer;
        metrics = this.asJson(answer?.metrics);
        if (healthy === false) failure = 'customCheck returned false';
        else if (healthy !== true) failure = `customCheck returned ${inspect(answer, { depth: 0 })}; true, false or { healthy } is expected`;
      } catch (error) {
        failure = `customCheck threw: ${error instanceof Error ? error.message : inspect(error)}`;
      }
    }
    addon.workerChecked(number, failure, metrics);
  }

  /** The program's metrics as JSON. @param {any} metrics */
  asJson(metrics) {
    try {
      return JSON.parse(JSON.stringify(metrics ?? null) ?? 'null');
    } catch (error) {
      this.worker.hint(`The metrics of customCheck cannot be written as JSON and are left out: ${error instanceof Error ? error.message : error}`);
      return null;
    }
  }

  /** This worker's WorkerInfo. */
  info() {
    return addon.workerInfos().find((/** @type {any} */ info) => info.id === this.worker.id);
  }
}

module.exports = { HealthChecks };
