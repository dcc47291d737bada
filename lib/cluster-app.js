// @ts-check
'use strict';

// The methods of a clustered application, mixed into an Express application or standing alone. They work in
// the primary, in every worker and without a cluster.

const { EventEmitter } = require('node:events');
const { notSupported } = require('./errors');
const { alreadyStarted } = require('./roles');

/** Without a port from code or environment: Express's habit. */
const DEFAULT_PORT = 3000;

/** Methods that a later version brings; they exist and say so. */
const LATER = [
  'broadcastToWorkers',
  'sendToWorker',
  'sendToRandomWorker',
  'sendToPrimary',
  'sendToMaster',
  'scaleUp',
  'scaleDown',
  'scale',
  'restartWorker',
  'restartCluster',
  'autoScale',
  'getOptimalWorkerCount',
  'updateConfig',
  'getClusterMetrics',
  'getClusterHealth',
  'runOnce',
  'invalidateCache',
];
const LATER_SYNC = ['onMessage', 'registerHandler', 'unregisterHandler', 'onLeader', 'onShutdown'];

/** What `listen` returns where the listening is the workers': an address, a close, and the events. */
class ClusterServer extends EventEmitter {
  /** @param {any} role */
  constructor(role) {
    super();
    this.role = role;
    this.listening = false;
  }

  address() {
    return this.role.address();
  }

  /** @param {(error?: Error) => void} [callback] */
  close(callback) {
    this.role.close().then(
      () => {
        this.listening = false;
        this.emit('close');
        callback?.();
      },
      (/** @type {Error} */ error) => callback?.(error),
    );
    return this;
  }
}

/**
 * Where to serve: code, then PORT and HOST, then 3000 everywhere.
 *
 * @param {any} options
 * @param {any} port
 * @param {any} host
 */
function place(options, port, host) {
  const wanted = port ?? options.port ?? process.env.PORT;
  return {
    port: wanted === undefined || wanted === '' ? DEFAULT_PORT : wanted,
    host: host ?? options.host ?? (process.env.HOST || undefined),
  };
}

/**
 * The methods over a role.
 *
 * @param {any} role
 * @param {any} options
 * @param {any} manager the ClusterManager
 */
function methodsOf(role, options, manager) {
  /** @type {{ port: any, host: any, done: Promise<void> } | null} */
  let started = null;

  function start(/** @type {any} */ port, /** @type {any} */ host) {
    const at = place(options, port, host);
    if (started === null) {
      started = { ...at, done: role.start(at.port, at.host) };
      return started.done;
    }
    const same = String(started.port) === String(at.port) && started.host === at.host;
    return same ? started.done : Promise.reject(alreadyStarted());
  }

  /** @type {Record<string, any>} */
  const methods = {
    start,
    listen(/** @type {any[]} */ ...args) {
      const callback = args.find((value) => typeof value === 'function');
      const [port, host] = args.filter((value) => typeof value !== 'function');
      const options = port !== null && typeof port === 'object' ? port : { port, host };
      const server = new ClusterServer(role);
      if (callback) server.once('listening', callback);
      start(options.port ?? options.path, typeof options.host === 'string' ? options.host : undefined).then(
        () => {
          server.listening = true;
          server.emit('listening');
        },
        (error) => server.emit('error', error),
      );
      return server;
    },
    close(/** @type {(error?: Error) => void} */ callback) {
      const closed = role.close();
      if (callback) closed.then(() => callback(), callback);
      return closed;
    },
    address: () => role.address(),
    stopCluster: once((/** @type {boolean} */ graceful = true) => role.stop(graceful)),
    getAllWorkers: () => role.workers(),
  };
  for (const name of LATER) methods[name] = () => role.refuse(name);
  for (const name of LATER_SYNC) {
    methods[name] = () => {
      throw notSupported(name);
    };
  }
  const facts = {
    isPrimary: role.name !== 'worker',
    isWorker: role.name === 'worker',
    workerId: role.workerId,
    cluster: manager,
  };
  return { methods, facts };
}

/**
 * Called twice it returns the same promise; a forced stop after a graceful one still forces.
 *
 * @param {(graceful?: boolean) => Promise<void>} stop
 */
function once(stop) {
  /** @type {Map<boolean, Promise<void>>} */
  const calls = new Map();
  return (/** @type {boolean} */ graceful = true) => {
    const call = calls.get(graceful) ?? stop(graceful);
    calls.set(graceful, call);
    return call;
  };
}

/**
 * Puts the methods onto an object, over its own.
 *
 * @param {any} target
 * @param {ReturnType<typeof methodsOf>} mixed
 */
function mixInto(target, { methods, facts }) {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  }
  for (const [name, value] of Object.entries(facts)) {
    Object.defineProperty(target, name, { value, writable: false, configurable: true, enumerable: false });
  }
  return target;
}

module.exports = { methodsOf, mixInto };
