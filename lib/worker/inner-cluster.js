// @ts-check
'use strict';

// A program that clusters itself with node:cluster inside a worker. Its processes serve what the worker is given: they
// leave with it, in order, and none of them outlives it.

const cluster = /** @type {any} */ (require('node:cluster'));
const { EventEmitter } = require('node:events');
const path = require('node:path');
const runtime = require('../runtime');

/** Runs in each of its processes before the program. */
const PRELOAD = path.join(__dirname, 'inner-cluster-child.js');

/** Between two looks whether its processes have what its primary had for them, milliseconds. */
const LOOK_INTERVAL = 5;

const HINT =
  "The program clusters itself with node:cluster: each of drover's workers starts processes of its own and hands them its " +
  'connections. Run it without, and drover serves with one process a worker (of Nitro: preset node-server, not node-cluster).';

class InnerCluster {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** Its processes that live. @type {Set<import('node:cluster').Worker>} */
    this.children = new Set();
    /** Connections that its primary has given to one of them, which has not taken them yet. @type {Set<number>} */
    this.given = new Set();
    this.isLeaving = false;
  }

  /** From now on what the program forks is followed. */
  follow() {
    if (!cluster.isPrimary) return;
    runtime.interceptFork((fork) => {
      // Programs replace who has ended, which is not wanted now.
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

  /** Its processes finish what they have, and end. */
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
        // Node forgets it here and now. Programs look there for who lives: it is forgotten when it has ended.
        cluster.workers[child.id] = child;
      }
    };
    // Nothing new comes: as soon as each has taken what it was given, nothing is left in the primary's queue.
    const timer = setInterval(look, LOOK_INTERVAL);
  }

  /** Knows of each connection that Node's primary gives to this child until it is taken. @param {import('node:cluster').Worker} child */
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

/** A worker of node:cluster that was never started. */
function unstartedWorker() {
  const silent = { pid: undefined, connected: false, exitCode: 0, killed: true };
  const refuse = { send: () => false, kill: () => false, disconnect() {} };
  return new cluster.Worker({ id: 0, process: Object.assign(new EventEmitter(), silent, refuse) });
}

module.exports = { InnerCluster };
