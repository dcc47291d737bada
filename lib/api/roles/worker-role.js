// @ts-check
'use strict';

// The application's methods in a worker: it serves its share; commands that change the cluster go to the primary.

const { addon } = require('../../native');
const { ServingRole } = require('./serving-role');

class WorkerRole extends ServingRole {
  /** @param {import('./serving-role').Made} made @param {import('../../worker/worker').Worker} worker */
  constructor(made, worker) {
    super(made);
    this.worker = worker;
    this.messages = worker.messages;
    this.leadership = worker.leadership;
    this.registry = worker.registry;
    this.cache = worker.cache;
    this.fleet = worker.fleet;
    this.name = 'worker';
    this.workerId = worker.id;
    this.config = worker.hello.config;
  }

  /**
   * @override
   * @param {import('../../http/serving').Serving} serving
   * @param {import('../../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    const warming = this.warm(this.cache, this.config);
    // Without it the server listens when this returns.
    if (warming !== null) await warming;
    await super.start(serving, options, errorEvent);
  }

  /**
   * Drains this worker only; it exits in a later event-loop iteration, unless the user's code exits first.
   *
   * @param {boolean} graceful
   */
  stop(graceful) {
    if (!graceful) {
      setImmediate(() => process.exit(0));
      return Promise.resolve();
    }
    const { drain } = this.worker;
    const drained = drain.leave();
    drained.then(() => setImmediate(() => setImmediate(() => drain.end())));
    return drained;
  }

  /** @override @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    this.worker.shutdownHooks.onShutdown(hook);
  }

  /** @override @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    this.worker.shutdownHooks.waitUntil(promise);
  }

  workers() {
    return addon.workerInfos();
  }

  metrics() {
    return addon.workerClusterMetrics();
  }

  health() {
    return addon.workerClusterHealth();
  }

  /**
   * Subscribes to the cluster's events for a manager, or unsubscribes.
   *
   * @param {any} manager
   * @param {boolean} subscribes
   */
  subscribe(manager, subscribes) {
    this.worker.events.set(manager, subscribes);
  }

  /** Whether a load balancer should send requests to this process. */
  isReady() {
    return !this.worker.isUnready && !this.worker.drain.begun;
  }

  /** @param {string} verb @param {any} argument */
  command(verb, argument) {
    return this.worker.commands.send(verb, argument);
  }
}

module.exports = { WorkerRole };
