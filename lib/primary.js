// @ts-check
'use strict';

// The primary in JavaScript: promises and events over the core's loop. It decides nothing.

const dns = require('node:dns');
const net = require('node:net');
const { addon } = require('./native');
const { ClusterError, fromCore, systemError, unwrap } = require('./errors');
const { launching, snapshot, socketName } = require('./environment');
const { homeOf } = require('./metrics/registry');
const { Reporting } = require('./metrics/reporting');
const { reapOrphans } = require('./orphans');
const { heedSignals, isHurried, track } = require('./signals');

const BACKLOG = 511;

/** One cluster: made once, started once. */
class Primary {
  /**
   * @param {object} asked as `loadConfig` of the core takes it
   * @param {(event: any) => void} onEvent
   * @param {import('./messages/mailbox').Mailbox} mailbox
   * @param {{ registry: import('./metrics/registry').Registry, functions: ReturnType<typeof import('./metrics/reporting').functionsOf>, config: any }} own
   *   the program's metrics, its functions that `monitoring` names, and the configuration with its defaults
   */
  constructor(asked, onEvent, mailbox, own) {
    this.asked = asked;
    this.launching = launching();
    this.onEvent = onEvent;
    this.mailbox = mailbox;
    this.own = own;
    /** @type {Reporting | null} */
    this.reporting = null;
    /** @type {any} */
    this.core = null;
    this.nextId = 1;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.waiting = new Map();
    /** Resolves when the core that lives now has ended. @type {Promise<void>} */
    this.over = Promise.resolve();
    this.stopping = false;
    /** The last start failed, and the exit code says so. */
    this.failed = false;
    /** Where the cluster serves, once the address is open. @type {import('node:net').AddressInfo | string | null} */
    this.address = null;
    this.end = () => {};
  }

  /** Makes the core's loop; nothing is spawned yet. After the end of one core there may be another. */
  async begin() {
    if (this.stopping) {
      await this.over;
      throw stopped();
    }
    if (this.core !== null) return this.core;
    const core = new addon.Primary(this.asked, this.launching, (/** @type {string} */ text) =>
      this.hear(JSON.parse(text)),
    );
    if (core.refusal !== null) throw fromCore(core.refusal);
    this.core = core;
    unwrap(core.listenToMessages(this.mailbox.deliver.bind(this.mailbox)));
    this.mailbox.wire = {
      post: core.post.bind(core),
      error: addon.postError,
      name: core.name.bind(core),
      targets: core.targets.bind(core),
    };
    this.reporting = new Reporting(this.own.functions, this.own.config, core);
    this.own.registry.move(() => homeOf(core.meters(), (text) => core.warn(text)));
    const takeOff = heedSignals(this.#stoppable(core));
    const sayGoodbye = () => core.goodbye();
    process.on('exit', sayGoodbye);
    const stopReaping = process.pid === 1 ? reapOrphans(core) : () => {};
    this.over = new Promise((resolve) => {
      this.end = () => {
        takeOff();
        stopReaping();
        process.removeListener('exit', sayGoodbye);
        this.reporting?.end();
        core.join();
        this.mailbox.wire = null;
        this.core = null;
        this.stopping = false;
        this.address = null;
        // First, so that whoever stopped the cluster can exit before a start that was cut off is heard of.
        resolve();
        for (const { reject } of this.waiting.values()) reject(stopped());
        this.waiting.clear();
      };
    });
    return core;
  }

  /** @param {any} core @returns {import('./signals').Stoppable} */
  #stoppable(core) {
    return {
      stop: (graceful, limit) => this.stop(graceful, limit),
      signalled: (signal) => core.signalled(signal),
      roll: () => this.roll(),
      isHurried: isHurried(),
      isAbrupt: process.env.NODE_ENV === 'development',
      patience: this.own.config.processManagement.killTimeout,
      warn: (text) => core.warn(text),
    };
  }

  /** @param {any} message */
  hear(message) {
    if (message.event) this.tell(message);
    else if (message.line) this.core?.openLine(...message.line);
    else if (message.gone) this.core?.closeLine(...message.gone);
    else if (message.environment) this.core?.environment(snapshot());
    else if (message.measure) this.reporting?.measure();
    else if (message.done !== undefined) this.settle(message);
    else if (message.ended) this.end();
  }

  /** An event, after the messages that were sent before it. @param {any} message */
  tell({ event, timestamp }) {
    this.core?.readMessages();
    this.onEvent({ ...event, timestamp });
    if (event.type === 'metrics:updated') this.reporting?.export(event.metrics);
  }

  /** @param {{ done: number, ok?: any, error?: any }} message */
  settle({ done, ok, error }) {
    // Told at the end, to all that still wait.
    if (error?.code === 'STOPPED') return;
    const waiter = this.waiting.get(done);
    this.waiting.delete(done);
    if (error) waiter?.reject(Object.assign(fromCore(error), { core: error }));
    else waiter?.resolve(ok);
  }

  /** @param {any} core @param {(id: number) => void} ask @returns {Promise<any>} */
  ask(core, ask) {
    if (this.core !== core) return Promise.reject(stopped());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      ask(id);
    });
  }

  /**
   * Opens the address, so that a taken port is known before any worker is started, and starts the workers.
   * When it fails nothing of the cluster is left, and it may be tried again.
   *
   * @param {number | string} port a number, or the path of a unix socket
   * @param {string | undefined} host
   */
  serve(port, host) {
    return this.attempt(async (core) => {
      const address = await addressOf(port, host);
      const opened = await this.ask(core, (id) => core.open(id, address, BACKLOG)).catch((error) => {
        throw listenError(error, address);
      });
      this.address = addressInfo(address, opened);
      await this.ask(core, (id) => this.launch(core, id));
    });
  }

  /** Starts the workers; their program listens by itself. */
  start() {
    return this.attempt((core) => this.ask(core, (id) => this.launch(core, id)));
  }

  /** @param {any} core @param {number} id */
  launch(core, id) {
    core.environment(snapshot());
    core.start(id);
  }

  /** @param {(core: any) => Promise<void>} act @returns {Promise<void>} */
  async attempt(act) {
    try {
      const core = await this.begin();
      await act(core);
      if (this.failed) process.exitCode = undefined;
      this.failed = false;
    } catch (error) {
      if (/** @type {any} */ (error).code === 'STOPPED') throw error;
      await this.stop(false);
      // A program that only prints the error ends without a cluster: who started it should know.
      this.failed ||= process.exitCode === undefined;
      process.exitCode ??= 1;
      throw error;
    }
  }

  /**
   * Resolves when every worker is gone and every address is free.
   *
   * @param {boolean} graceful
   * @param {number} [limit] milliseconds that the workers have, where the configured time is longer
   */
  stop(graceful, limit) {
    if (this.core !== null) {
      this.stopping = true;
      const { core } = this;
      // Whether it is done or the core has ended before it heard of it: `over` tells.
      this.ask(core, (id) => core.stop(id, graceful, limit)).catch(() => {});
      track(this.over);
    }
    return this.over;
  }

  /**
   * What the running cluster is to become.
   *
   * @param {string} verb
   * @param {any} argument
   * @returns {Promise<number[]>} the slots that serve because of it
   */
  order(verb, argument) {
    const { core } = this;
    if (core === null) return Promise.reject(stopped());
    core.environment(snapshot());
    return this.ask(core, (id) => core.order(id, verb, argument ?? null));
  }

  /** A signal asked for new workers; what becomes of it is in the log. @returns {Promise<unknown>} */
  roll() {
    return this.order('restartCluster', null).catch(() => {});
  }

  workers() {
    return this.core === null ? [] : this.core.workers();
  }

  metrics() {
    if (this.core === null) throw stopped();
    return this.core.clusterMetrics();
  }

  health() {
    if (this.core === null) throw stopped();
    return this.core.clusterHealth();
  }
}

function stopped() {
  return new ClusterError('The cluster does not run', 'STOPPED');
}

/**
 * The address as the core names it; names are resolved as Node does.
 *
 * @param {number | string} port
 * @param {string | undefined} host
 */
async function addressOf(port, host) {
  const number = typeof port === 'string' && /^\d+$/.test(port) ? Number(port) : port;
  if (typeof number === 'string') return { kind: 'unix', path: socketName(number) };
  if (!Number.isInteger(number) || number < 0 || number > 65_535) {
    // Node's own error for a port that is none.
    net.createServer().listen(number);
  }
  const resolved = host ? (await dns.promises.lookup(host)).address : null;
  return { kind: 'tcp', host: resolved, port: number, ipv6_only: false, nth: 0 };
}

/** @param {any} address @param {{ host: string | null, port: number }} opened */
function addressInfo(address, { host, port }) {
  if (address.kind === 'unix') return address.path;
  return { address: host ?? '', family: net.isIPv6(host ?? '') ? 'IPv6' : 'IPv4', port };
}

/** @param {any} error @param {any} address */
function listenError(error, address) {
  const details = error.core?.details;
  if (!details?.errno) return error;
  return systemError(details.errno, details.syscall, details.host ?? address.host ?? address.path ?? null, address.port);
}

module.exports = { Primary };
