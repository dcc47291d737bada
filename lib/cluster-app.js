// @ts-check
'use strict';

// The methods of a clustered application, mixed into an Express application or standing alone. They work in
// the primary, in every worker and without a cluster.

const { errorMonitor } = require('node:events');
const { notSupported } = require('./errors');
const { alreadyStarted } = require('./roles');

/** Without a port from code or environment: Express's habit. */
const DEFAULT_PORT = 3000;

/** What a running cluster can be asked to become; the core checks the argument. */
const ORDERS = ['scale', 'scaleUp', 'scaleDown', 'restartWorker', 'restartCluster'];
/** Methods that a later version brings; they exist and say so. */
const LATER = [
  'autoScale',
  'getOptimalWorkerCount',
  'updateConfig',
];
/** Properties that a later version brings; reading one says so. Express has a `cache` of its own, for views. */
const LATER_PROPERTIES = ['cache'];

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
  /** Called twice a stop returns the same promise; a forced one after a graceful one still forces. @type {Map<boolean, Promise<void>>} */
  const stops = new Map();

  function begin(/** @type {any} */ port, /** @type {any} */ host, /** @type {string | symbol} */ errorEvent) {
    const at = place(options, port, host);
    if (started === null) {
      stops.clear();
      const done = role.start(at.port, at.host, errorEvent).catch((/** @type {Error} */ error) => {
        // It may be tried again, perhaps elsewhere.
        started = null;
        throw error;
      });
      started = { ...at, done };
      return done;
    }
    const same = String(started.port) === String(at.port) && started.host === at.host;
    return same ? started.done : Promise.reject(alreadyStarted());
  }

  /** @type {Record<string, any>} */
  const methods = {
    start: (/** @type {any} */ port, /** @type {any} */ host) => begin(port, host, 'error'),
    listen(/** @type {any[]} */ ...args) {
      const callback = args.find((value) => typeof value === 'function');
      const [port, host] = args.filter((value) => typeof value !== 'function');
      const options = port !== null && typeof port === 'object' ? port : { port, host };
      const server = role.server();
      if (callback) call(callback, server);
      const where = typeof options.host === 'string' ? options.host : undefined;
      begin(options.port ?? options.path, where, errorMonitor).then(
        () => role.began(server),
        (/** @type {unknown} */ error) => role.failed(server, error),
      );
      return server;
    },
    close(/** @type {(error?: Error) => void} */ callback) {
      started = null;
      const closed = role.close();
      if (callback) closed.then(() => callback(), callback);
      return closed;
    },
    address: () => role.address(),
    stopCluster(graceful = true) {
      // What has stopped may be started again.
      started = null;
      const stop = stops.get(graceful) ?? role.stop(graceful);
      stops.set(graceful, stop);
      return stop;
    },
    getAllWorkers: () => role.workers(),
    getClusterMetrics: async () => role.metrics(),
    getClusterHealth: async () => role.health(),
    onShutdown: (/** @type {() => void | Promise<void>} */ hook) => role.onShutdown(hook),
    waitUntil: (/** @type {PromiseLike<unknown>} */ promise) => role.waitUntil(promise),
  };
  for (const name of ORDERS) {
    methods[name] = async (/** @type {any} */ argument) => {
      await role.order(name, argument);
    };
  }
  for (const name of LATER) methods[name] = () => role.refuse(name);
  Object.assign(methods, messagesOf(role));
  const facts = {
    isPrimary: role.name !== 'worker',
    isWorker: role.name === 'worker',
    workerId: role.workerId,
    cluster: manager,
    metrics: role.registry,
  };
  return { methods, facts, leadership: role.leadership };
}

/**
 * As Express 5 does: once the server listens, or with the error if the callback has a place for one. Without
 * one a failure stays an 'error' event, and so it is never taken for success.
 *
 * @param {(error?: Error) => void} callback
 * @param {import('node:net').Server} server
 */
function call(callback, server) {
  const fail = (/** @type {Error} */ error) => callback.call(server, error);
  if (callback.length > 0) server.once('error', fail);
  server.once('listening', () => {
    server.removeListener('error', fail);
    callback.call(server);
  });
}

/**
 * Messages, leadership, and what follows from them.
 *
 * @param {any} role
 * @returns {Record<string, any>}
 */
function messagesOf({ mailbox, leadership }) {
  const sendToPrimary = mailbox.sendToPrimary.bind(mailbox);
  return {
    broadcastToWorkers: mailbox.broadcast.bind(mailbox),
    sendToWorker: mailbox.sendToWorker.bind(mailbox),
    sendToRandomWorker: mailbox.sendToRandomWorker.bind(mailbox),
    sendToPrimary,
    sendToMaster: sendToPrimary,
    onMessage: mailbox.onMessage.bind(mailbox),
    registerHandler: (/** @type {string} */ type, /** @type {any} */ handler) => mailbox.register(type, handler),
    unregisterHandler: mailbox.unregister.bind(mailbox),
    onLeader: leadership.onLeader.bind(leadership),
    runOnce: leadership.runOnce.bind(leadership),
    invalidateCache: (/** @type {string} */ pattern) => mailbox.invalidate(pattern),
  };
}

/**
 * Puts the methods onto an object, over its own.
 *
 * @param {any} target
 * @param {ReturnType<typeof methodsOf>} mixed
 */
function mixInto(target, { methods, facts, leadership }) {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  }
  for (const [name, value] of Object.entries(facts)) {
    Object.defineProperty(target, name, { value, writable: false, configurable: true, enumerable: false });
  }
  const isLeader = { get: () => leadership.isLeader, configurable: true, enumerable: false };
  Object.defineProperty(target, 'isLeader', isLeader);
  for (const name of LATER_PROPERTIES.filter((name) => !(name in target))) {
    const get = () => {
      throw notSupported(name);
    };
    Object.defineProperty(target, name, { get, configurable: true, enumerable: false });
  }
  return target;
}

module.exports = { methodsOf, mixInto };
