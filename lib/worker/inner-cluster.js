// @ts-check
'use strict';

// A program that uses node:cluster inside a worker. Its processes serve the worker's connections: they shut down
// gracefully with the worker, and none outlives it.

const cluster = /** @type {any} */ (require('node:cluster'));
const { EventEmitter } = require('node:events');
const path = require('node:path');
const runtime = require('../runtime');

/** Preloaded in each of its processes. */
const PRELOAD = path.join(__dirname, 'inner-cluster-child.js');

/** Interval for checking whether its processes have received their connections, milliseconds. */
const LOOK_INTERVAL = 5;

const HINT =
  "The program clusters itself with node:cluster: each of drover's workers starts processes of its own and hands them its " +
  'connections. Run it without, and drover serves with one process a worker (of Nitro: preset node-server, not node-cluster).';

class InnerCluster {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** Its running processes. @type {Set<import('node:cluster').Worker>} */
    this.children = new Set();
    /**
     * Connections that node:cluster's primary has sent to one of them and that are not accepted yet.
     * @type {Set<number>}
     */
    this.given = new Set();
    this.isLeaving = false;
  }

  /** Starts tracking the processes that the program forks. */
  follow() {
    if (!cluster.isPrimary) return;
    runtime.interceptFork((fork) => {
      // Programs replace processes that have ended, which is not wanted while draining.
      if (this.worker.drain.begun) return unstartedWorker();
      this.worker.hint(HINT, false);
      const child = fork(PRELOAD);
      this.children.add(child);
      this.watch(child);
      return child;
    });
  }

  get isEmpty() {
    return this.children.size === 0;
  }

  /** Makes its processes finish their work and exit. */
  leave() {
    if (this.isEmpty || this.isLeaving) return;
    this.isLeaving = true;
    process.once('exit', () => this.end('SIGKILL'));
    const look = () => {
      if (this.given.size > 0) return;
      clearInterval(timer);
      for (const child of this.children) {
        if (!child.isConnected()) continue;
        child.disconnect();
        // Node removes it from `cluster.workers` here. Programs look there for running processes, so it is removed when
        // it has ended.
        cluster.workers[child.id] = child;
      }
    };
    // No new connections arrive: once each process has accepted what it was sent, the primary's queue is empty.
    const timer = setInterval(look, LOOK_INTERVAL);
  }

  /**
   * Tracks each connection that node:cluster's primary sends to this child until it is accepted.
   * @param {import('node:cluster').Worker} child
   */
  watch(child) {
    const own = new Set();
    const forget = (/** @type {number} */ seq) => own.delete(seq) && this.given.delete(seq);
    runtime.onConnectionsGiven(child.process, {
      given: (seq) => {
        own.add(seq);
        this.given.add(seq);
      },
      taken: forget,
    });
    child.process.once('exit', () => {
      this.children.delete(child);
      own.forEach(forget);
    });
  }

  /** @param {NodeJS.Signals} signal */
  end(signal) {
    for (const child of this.children) child.process.kill(signal);
  }
}

/** A node:cluster worker that was never started. */
function unstartedWorker() {
  const silent = { pid: undefined, connected: false, exitCode: 0, killed: true };
  const refuse = { send: () => false, kill: () => false, disconnect() {} };
  return new cluster.Worker({ id: 0, process: Object.assign(new EventEmitter(), silent, refuse) });
}

module.exports = { InnerCluster };
