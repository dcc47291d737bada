// @ts-check
'use strict';

// The JavaScript side of the primary: promises and events on top of the core's loop. It makes no decisions.

const { addon } = require('../native');
const { ClusterError, fromCore, unwrap, withOuterStack } = require('../errors');
const { launching, snapshot } = require('../process/environment');
const { storeOf } = require('../metrics/registry');
const { Reporting } = require('../metrics/reporting');
const { running } = require('./clusters');
const { reapOrphans } = require('./orphans');
const { followSignals, isHurried, track } = require('../process/signals');

/** One cluster. */
class Primary {
  /**
   * @param {any} configuration a validated `Configuration` of the core
   * @param {(event: any) => void} onEvent
   * @param {import('../messages/endpoint').MessageEndpoint} messages
   * @param {{ registry: import('../metrics/registry').Registry, functions: ReturnType<typeof import('../metrics/reporting').functionsOf>, config: any, cache: any, saveCache: () => void, fleet: { native: any, fleet: any }, ended: () => void }} own
   *   the program's metrics, the functions configured in `monitoring`, the configuration with its defaults, the core's
   *   shared cache, the fleet with the core's, and callbacks for the end of the cluster
   */
  constructor(configuration, onEvent, messages, own) {
    this.configuration = configuration;
    this.launching = launching();
    this.onEvent = onEvent;
    this.messages = messages;
    this.own = own;
    /** @type {Reporting | null} */
    this.reporting = null;
    /** @type {any} */
    this.core = null;
    this.nextId = 1;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.pending = new Map();
    /** Resolves when the current core has ended. @type {Promise<void>} */
    this.over = Promise.resolve();
    this.stopping = false;
    /** The last start failed and has set the exit code. */
    this.failed = false;
    /** The pending start of the current core, shared by all addresses that wait for it. @type {Promise<void> | null} */
    this.started = null;
    this.end = () => {};
  }

  /** Creates the core's loop; nothing is spawned yet. After the end of one core another may be created. */
  async begin() {
    if (this.stopping) {
      await this.over;
      throw notRunning();
    }
    if (this.core !== null) return this.core;
    const core = new addon.Primary(this.configuration, this.launching, this.own.cache, this.own.fleet.native, (/** @type {string} */ text) =>
      this.onInput(JSON.parse(text)),
    );
    if (core.refusal !== null) throw withOuterStack(fromCore(core.refusal));
    this.core = core;
    // Joined now, so that it is reached when the first worker runs.
    if (this.own.fleet.native !== null) this.own.fleet.fleet.join();
    running.add(core);
    unwrap(core.listenToMessages(this.messages.deliver.bind(this.messages)));
    this.messages.wire = {
      post: core.postFunction(),
      requestAll: core.requestAll.bind(core),
      error: addon.postError,
      workerIdOf: core.workerIdOf.bind(core),
      targets: core.targets.bind(core),
    };
    this.reporting = new Reporting(this.own.functions, this.own.config, core);
    this.own.registry.move(() => storeOf(core.metricStore(), (text) => core.warn(text)));
    const unfollowSignals = followSignals(this.#stoppable(core));
    const sendShutdownNotice = () => core.shutdownNotice();
    process.on('exit', sendShutdownNotice);
    const reapsOrphans = process.pid === 1 && this.own.config.processManagement.zombieDetection;
    const stopReaping = reapsOrphans ? reapOrphans(core) : () => {};
    this.over = new Promise((resolve) => {
      this.end = () => {
        unfollowSignals();
        stopReaping();
        process.removeListener('exit', sendShutdownNotice);
        this.reporting?.end();
        running.delete(core);
        this.own.saveCache();
        if (this.own.fleet.native !== null) this.own.fleet.fleet.close();
        core.join();
        this.messages.wire = null;
        this.core = null;
        this.stopping = false;
        this.started = null;
        // First, so that a caller of stop can exit before an aborted start rejects.
        resolve();
        for (const { reject } of this.pending.values()) reject(notRunning());
        this.pending.clear();
        this.own.ended();
      };
    });
    return core;
  }

  /** @param {any} core @returns {import('../process/signals').Stoppable} */
  #stoppable(core) {
    return {
      stop: (graceful, limit) => this.stop(graceful, limit),
      signalled: (signal) => core.signalled(signal),
      roll: () => this.roll(),
      isHurried: isHurried(),
      isAbrupt: process.env.NODE_ENV === 'development',
      lingerTimeout: this.own.config.processManagement.lingerTimeout,
      handlerTimeout: this.own.config.processManagement.killTimeout,
      warn: (text) => core.warn(text),
    };
  }

  /** @param {any} message */
  onInput(message) {
    if (message.event) this.publish(message);
    else if (message.channel) this.core?.openChannel(...message.channel);
    else if (message.gone) this.core?.closeChannel(...message.gone);
    else if (message.environment) this.core?.environment(snapshot());
    else if (message.measure) this.reporting?.measure();
    else if (message.done !== undefined) this.finish(message);
    else if (message.ended) this.end();
  }

  /** Handles an event, after the messages that were sent before it. @param {any} message */
  publish({ event, timestamp }) {
    this.core?.readMessages();
    this.onEvent({ ...event, timestamp });
    if (event.type === 'metrics:updated') this.reporting?.export(event.metrics);
  }

  /** @param {{ done: number, ok?: any, error?: any }} message */
  finish({ done, ok, error }) {
    // At the end, reject everything that is still pending.
    if (error?.code === 'STOPPED') return;
    const request = this.pending.get(done);
    this.pending.delete(done);
    if (error) request?.reject(withOuterStack(fromCore(error)));
    else request?.resolve(ok);
  }

  /** @param {any} core @param {(id: number) => void} send @returns {Promise<any>} */
  request(core, send) {
    if (this.core !== core) return Promise.reject(notRunning());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      send(id);
    });
  }

  /**
   * Opens the address, so that a taken port is detected before any worker is started, and starts the workers if they do
   * not run. If it fails and no other address serves, the cluster is ended completely and may be started again.
   *
   * @param {any} address in the core's form; null: each worker binds its own socket
   * @param {object} options
   * @param {{ opened: (opened: any) => void, isLast: () => boolean }} hooks
   */
  serve(address, options, { opened, isLast }) {
    return this.attempt(async (core) => {
      if (address !== null) opened(await this.request(core, (id) => core.open(id, address, options)));
      await this.startOnce(core);
    }, isLast);
  }

  /** Starts the workers, whose program listens by itself. */
  start() {
    return this.attempt((core) => this.startOnce(core), () => true);
  }

  /** @param {any} core */
  startOnce(core) {
    this.started ??= this.request(core, (id) => {
      core.environment(snapshot());
      core.start(id);
    });
    return this.started;
  }

  /**
   * Closes one address; the cluster keeps running. Resolves when every worker has closed its server there.
   *
   * @param {number | null} group
   * @returns {Promise<void>}
   */
  release(group) {
    const { core } = this;
    if (group === null || core === null) return Promise.resolve();
    // A cluster that has ended holds no address.
    return this.request(core, (id) => core.release(id, group)).catch(() => {});
  }

  /** Writes a log line if the core runs. @param {string} text */
  note(text) {
    this.core?.note(text);
  }

  /** @param {string} text */
  warn(text) {
    if (this.core === null) console.warn(`drover: ${text}`);
    else this.core.warn(text);
  }

  /** @param {(core: any) => Promise<void>} act @param {() => boolean} isLast @returns {Promise<void>} */
  async attempt(act, isLast) {
    try {
      const core = await this.begin();
      await act(core);
      if (this.failed) process.exitCode = undefined;
      this.failed = false;
    } catch (error) {
      if (/** @type {any} */ (error).code === 'STOPPED' || !isLast()) throw error;
      await this.stop(false);
      this.fail();
      throw error;
    }
  }

  /**
   * Sets the exit code: a program that only prints the error exits without a cluster, and its parent process should
   * know.
   */
  fail() {
    this.failed ||= process.exitCode === undefined;
    process.exitCode ??= 1;
  }

  /**
   * Resolves when every worker is gone and every address is free.
   *
   * @param {boolean} graceful
   * @param {number} [limit] maximum for the configured timeout, milliseconds
   */
  stop(graceful, limit) {
    if (this.core !== null) {
      this.stopping = true;
      const { core } = this;
      // `over` resolves both when the stop is done and when the core has ended before it got the command.
      this.request(core, (id) => core.stop(id, graceful, limit)).catch(() => {});
      track(this.over);
    }
    return this.over;
  }

  /**
   * Sends a command to the running cluster.
   *
   * @param {string} verb
   * @param {any} argument
   * @returns {Promise<number[]>} the slots that serve because of it
   */
  command(verb, argument) {
    const { core } = this;
    if (core === null) return Promise.reject(notRunning());
    core.environment(snapshot());
    return this.request(core, (id) => core.command(id, verb, argument ?? null));
  }

  /** A rolling restart requested by a signal; its result is logged. @returns {Promise<unknown>} */
  roll() {
    return this.command('restartCluster', null).catch(() => {});
  }

  workers() {
    return this.core === null ? [] : this.core.workers();
  }

  metrics() {
    if (this.core === null) throw notRunning();
    return this.core.clusterMetrics();
  }

  health() {
    if (this.core === null) throw notRunning();
    return this.core.clusterHealth();
  }
}

function notRunning() {
  return new ClusterError('The cluster is not running', 'STOPPED');
}

module.exports = { Primary };
