// @ts-check
'use strict';

// The primary in JavaScript: promises and events over the core's loop. It decides nothing.

const dns = require('node:dns');
const net = require('node:net');
const { addon } = require('./native');
const { ClusterError, fromCore, systemError } = require('./errors');
const { launching } = require('./environment');
const { stopOnSignals } = require('./signals');

const BACKLOG = 511;

/** One cluster: made once, started once. */
class Primary {
  /**
   * @param {object} asked as `loadConfig` of the core takes it
   * @param {(event: any) => void} onEvent
   */
  constructor(asked, onEvent) {
    this.asked = asked;
    this.onEvent = onEvent;
    this.development = process.env.NODE_ENV === 'development';
    /** @type {any} */
    this.core = null;
    this.nextId = 1;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.waiting = new Map();
    /** @type {Promise<void> | null} */
    this.stopped = null;
    /** Where the cluster serves, once the address is open. @type {import('node:net').AddressInfo | string | null} */
    this.address = null;
    this.ended = false;
    this.release = () => {};
  }

  /** Makes the core's loop; nothing is spawned yet. */
  begin() {
    if (this.core !== null) return;
    const core = new addon.Primary(this.asked, launching(), (/** @type {string} */ text) =>
      this.hear(JSON.parse(text)),
    );
    if (core.refusal !== null) throw fromCore(core.refusal);
    this.core = core;
    const takeOff = stopOnSignals(this);
    const sayGoodbye = () => core.goodbye();
    process.on('exit', sayGoodbye);
    this.release = () => {
      takeOff();
      process.removeListener('exit', sayGoodbye);
    };
  }

  /** @param {any} message */
  hear(message) {
    if (message.event) this.onEvent({ ...message.event, timestamp: message.timestamp });
    else if (message.done !== undefined) this.settle(message);
    else if (message.ended) this.end();
  }

  /** @param {{ done: number, ok?: any, error?: any }} message */
  settle({ done, ok, error }) {
    const waiter = this.waiting.get(done);
    this.waiting.delete(done);
    if (error) waiter?.reject(Object.assign(fromCore(error), { core: error }));
    else waiter?.resolve(ok);
  }

  end() {
    this.ended = true;
    this.release();
    this.core.join();
    const gone = new ClusterError('The cluster has stopped', 'STOPPED');
    for (const { reject } of this.waiting.values()) reject(gone);
    this.waiting.clear();
  }

  /** @param {(id: number) => void} ask @returns {Promise<any>} */
  ask(ask) {
    if (this.ended) return Promise.reject(new ClusterError('The cluster has stopped', 'STOPPED'));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      ask(id);
    });
  }

  /**
   * Opens the address, so that a taken port is known before any worker is started.
   *
   * @param {number | string} port a number, or the path of a unix socket
   * @param {string | undefined} host
   */
  async open(port, host) {
    const address = await addressOf(port, host);
    this.begin();
    try {
      const opened = await this.ask((id) => this.core.open(id, address, BACKLOG));
      this.address = addressInfo(address, opened);
    } catch (error) {
      await this.stop(false);
      throw listenError(error, address);
    }
  }

  async start() {
    this.begin();
    try {
      await this.ask((id) => this.core.start(id));
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  /** @param {boolean} graceful */
  stop(graceful) {
    if (this.core === null || this.ended) return Promise.resolve();
    const stopped = this.ask((id) => this.core.stop(id, graceful));
    this.stopped ??= stopped;
    if (graceful) stopped.catch(() => {});
    return this.stopped;
  }

  signalled() {
    this.core?.signalled();
  }

  workers() {
    return this.core === null ? [] : this.core.workers();
  }
}

/**
 * The address as the core names it; names are resolved as Node does.
 *
 * @param {number | string} port
 * @param {string | undefined} host
 */
async function addressOf(port, host) {
  const number = typeof port === 'string' && /^\d+$/.test(port) ? Number(port) : port;
  if (typeof number === 'string') return { kind: 'unix', path: number };
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
