// @ts-check
'use strict';

// What an application's methods do in a worker, in the primary, and in a process without a cluster. One
// object with the same verbs for each role.

const { ClusterError, notClustered, notSupported } = require('./errors');
const { addon } = require('./native');
const { Primary } = require('./primary');
const { serve } = require('./serve/node');

/**
 * @typedef {{ app: any, server: any, data: any, prepared: any }} Made
 */

/** Serves in this very process: a worker, or no cluster at all. */
class Serves {
  /** @param {Made} made */
  constructor(made) {
    this.made = made;
    /** @type {import('node:net').Server | null} */
    this.server = null;
  }

  /** @param {number | string} port @param {string | undefined} host */
  async start(port, host) {
    const { server, listen } = await serve(this.made.app, this.made.server);
    this.server = server;
    await listen(port, host);
  }

  address() {
    return this.server?.address() ?? null;
  }

  /** @returns {Promise<void>} */
  close() {
    const { server } = this;
    if (server === null) return Promise.resolve();
    return new Promise((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
  }
}

/** This process is a worker. */
class InWorker extends Serves {
  /** @param {Made} made @param {import('./worker').Worker} worker */
  constructor(made, worker) {
    super(made);
    this.worker = worker;
    this.name = 'worker';
    this.workerId = worker.id;
    this.config = worker.welcome.config;
  }

  /**
   * Drains this worker alone; the exit follows on a later turn, unless the user's code exits first.
   *
   * @param {boolean} graceful
   */
  stop(graceful) {
    if (!graceful) {
      setImmediate(() => process.exit(0));
      return Promise.resolve();
    }
    const drained = this.worker.drain.run();
    drained.then(() => setImmediate(() => setImmediate(() => process.exit(0))));
    return drained;
  }

  workers() {
    return addon.workerInfos();
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

/** No cluster: one process that serves. */
class Single extends Serves {
  /** @param {Made} made */
  constructor(made) {
    super(made);
    this.name = 'single';
    this.workerId = undefined;
    this.config = made.prepared?.config ?? {};
    this.startTime = Date.now();
  }

  /** @override @param {number | string} port @param {string | undefined} host */
  async start(port, host) {
    for (const note of this.made.prepared?.notes ?? []) console.warn(`drover: ${note}`);
    if (this.made.prepared?.refusal) throw require('./errors').fromCore(this.made.prepared.refusal);
    await super.start(port, host);
  }

  /** @param {boolean} graceful */
  stop(graceful) {
    const { server } = this;
    if (!graceful && server !== null && 'closeAllConnections' in server) {
      const closed = this.close();
      /** @type {import('node:http').Server} */ (server).closeAllConnections();
      return closed;
    }
    return server?.listening ? this.close() : Promise.resolve();
  }

  workers() {
    const info = { id: '0', workerId: '0', pid: process.pid, generation: 1, state: 'running', status: 'running' };
    const address = this.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const rest = { requestCount: null, activeRequests: null, activeConnections: null, averageResponseTime: null };
    const later = { memoryUsage: null, cpuUsage: null, eventLoopLag: null, healthy: null, health: null };
    const { startTime } = this;
    return [
      { ...info, detail: 'ready', startTime, uptime: Date.now() - startTime, restarts: 0, port, ...rest, ...later },
    ];
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    const changes = /^(scale|restart)/.test(method);
    return Promise.reject(changes ? notClustered(method) : notSupported(method));
  }
}

/** The primary: its workers serve. */
class InPrimary {
  /** @param {Made} made @param {any} asked @param {(event: any) => void} onEvent */
  constructor(made, asked, onEvent) {
    this.name = 'primary';
    this.workerId = undefined;
    this.config = made.prepared.config;
    this.primary = new Primary(asked, onEvent);
  }

  /** @param {number | string} port @param {string | undefined} host */
  async start(port, host) {
    await this.primary.serve(port, host);
  }

  /** Without an address of its own: the workers' program listens. */
  async startWorkers() {
    await this.primary.start();
  }

  address() {
    return this.primary.address;
  }

  close() {
    return this.primary.stop(true);
  }

  /** @param {boolean} graceful */
  stop(graceful) {
    return this.primary.stop(graceful);
  }

  workers() {
    return this.primary.workers();
  }

  /** @param {string} method @returns {Promise<never>} */
  refuse(method) {
    return Promise.reject(notSupported(method));
  }
}

/** The cluster runs; a second start elsewhere would be another cluster. */
function alreadyStarted() {
  return new ClusterError('The cluster was started already, with another port or host', 'ALREADY_STARTED');
}

module.exports = { InPrimary, InWorker, Single, alreadyStarted };
