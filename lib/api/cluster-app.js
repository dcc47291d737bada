// @ts-check
'use strict';

// The methods of a clustered application, mixed into an Express application or standing alone. They work in
// the primary, in every worker and without a cluster.

const { errorMonitor } = require('node:events');
const { ClusterError } = require('../errors');
const runtime = require('../runtime');
const { asEnd } = require('../process/shutdown-hooks');

/** The port if code and environment give none, as in Express' examples. */
const DEFAULT_PORT = 3000;

/** Commands to a running cluster; the core checks the argument. */
const COMMANDS = ['scale', 'scaleUp', 'scaleDown', 'restartWorker', 'restartCluster'];
/** Commands whose result is the method's. */
const QUESTIONS = ['autoScale', 'getOptimalWorkerCount'];
/** A path, not a port. @param {any} value */
function isPath(value) {
  return typeof value === 'string' && value !== '' && !(Number(value) >= 0);
}

/** Parses the arguments of Node's `listen`, without the callback: (options), (handle, backlog), (path, backlog) or
 * (port, host, backlog), each part optional.
 *
 * @param {any[]} args
 */
function readForm([first, ...rest]) {
  const backlog = rest.find((value) => typeof value === 'number');
  const host = rest.find((value) => typeof value === 'string');
  if (first !== null && typeof first === 'object') return { given: first, backlog };
  return { given: isPath(first) ? { path: first } : { port: first, host }, backlog };
}

/**
 * The options for Node's `listen`: port and host from code, else from PORT and HOST, else port 3000 on all interfaces.
 *
 * @param {any} options createServer's
 * @param {any[]} args
 */
function completed(options, args) {
  const { given, backlog } = readForm(args);
  // A handle of the program, or a file descriptor.
  const isElsewhere = runtime.namesHandle(given) || (given.path ?? given.fd ?? null) !== null;
  if (isElsewhere) return given;
  const wanted = given.port ?? options.port ?? process.env.PORT;
  const port = wanted === undefined || wanted === '' ? DEFAULT_PORT : wanted;
  const host = given.host ?? options.host ?? (process.env.HOST || undefined);
  const all = backlog === undefined ? given : { backlog, ...given };
  if (!isPath(port)) return { ...all, port, host };
  const more = { ...all };
  delete more.port;
  return { ...more, path: port };
}

/** A string that identifies an address. @param {any} wanted */
function nameOf({ port, host, path, fd }) {
  return JSON.stringify([port === undefined ? null : String(port), host, path, fd]);
}

/**
 * The cluster's methods, implemented by a role.
 *
 * @param {any} role
 * @param {any} options
 * @param {any} manager the ClusterManager
 */
function methodsOf(role, options, manager) {
  /**
   * Servers that listen or start to, by address.
   *
   * @type {Map<string, { serving: import('../http/serving').Serving, done: Promise<void>, isSettled: boolean }>}
   */
  const begun = new Map();
  /**
   * Repeated stops return the same promise; a forced stop after a graceful one still takes effect.
   *
   * @type {Map<boolean, Promise<void>>}
   */
  const stops = new Map();

  /** @param {import('../http/serving').Serving} serving @param {any} wanted @param {string | symbol} errorEvent */
  function begin(serving, wanted, errorEvent) {
    if (begun.size === 0) stops.clear();
    const name = nameOf(wanted);
    const one = { serving, isSettled: false, done: Promise.resolve() };
    // It may be retried.
    const forget = () => void (begun.get(name) === one && begun.delete(name));
    begun.set(name, one);
    one.done = role.start(serving, wanted, errorEvent).then(
      () => void (one.isSettled = true),
      (/** @type {unknown} */ error) => {
        forget();
        throw error;
      },
    );
    serving.server.once('close', forget);
    return one.done;
  }

  /** The server that listens there or is starting to. @param {any} wanted */
  function standing(wanted) {
    const one = begun.get(nameOf(wanted));
    return one !== undefined && (!one.isSettled || one.serving.server.listening) ? one : undefined;
  }

  /** @type {Record<string, any>} */
  const methods = {
    start(/** @type {any[]} */ ...args) {
      const wanted = completed(options, args);
      if (begun.size === 0) return begin(role.serving(), wanted, 'error');
      return standing(wanted)?.done ?? Promise.reject(alreadyStarted());
    },
    // As in Express each call creates a server, so that an application may have several ports.
    listen(/** @type {any[]} */ ...args) {
      const callback = args.find((value) => typeof value === 'function');
      const given = args.filter((value) => typeof value !== 'function');
      const wanted = completed(options, given);
      const one = String(wanted.port) === '0' ? undefined : standing(wanted);
      if (one !== undefined) {
        if (callback) one.done.then(() => callback.call(one.serving.server), callback.length > 0 ? callback : () => {});
        return one.serving.server;
      }
      const serving = role.serving();
      const done = begin(serving, wanted, errorMonitor);
      if (callback) call(callback, serving.server);
      done.catch((/** @type {unknown} */ error) => serving.fail(error));
      return serving.server;
    },
    close(/** @type {(error?: Error) => void} */ callback) {
      begun.clear();
      const closed = role.close();
      if (callback) closed.then(() => callback(), callback);
      return closed;
    },
    address: () => role.address(),
    stopCluster(graceful = true) {
      // A stopped cluster may be started again.
      begun.clear();
      const stop = stops.get(graceful) ?? role.stop(graceful);
      stops.set(graceful, stop);
      return asEnd(stop);
    },
    updateConfig: (/** @type {any} */ config) => manager.updateConfig(config),
    getAllWorkers: () => role.workers(),
    getClusterMetrics: async () => role.metrics(),
    getClusterHealth: async () => role.fleet.withHealth(await role.health()),
    onShutdown: (/** @type {() => void | Promise<void>} */ hook) => role.onShutdown(hook),
    waitUntil: (/** @type {PromiseLike<unknown>} */ promise) => role.waitUntil(promise),
  };
  for (const name of COMMANDS) {
    methods[name] = async (/** @type {any} */ argument) => {
      await role.command(name, argument);
    };
  }
  for (const name of QUESTIONS) methods[name] = async () => role.command(name);
  Object.assign(methods, messagesOf(role));
  const facts = {
    isPrimary: role.name !== 'worker',
    isWorker: role.name === 'worker',
    workerId: role.workerId,
    cache: role.cache,
    fleet: role.fleet,
    cluster: manager,
    metrics: role.registry,
  };
  return { methods, facts, leadership: role.leadership };
}

/**
 * As in Express 5 the callback is called once the server listens, or with the error if it has a parameter. Without a
 * parameter a failure remains an 'error' event, so that it is never mistaken for success.
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
 * Messages, leadership, and cache invalidation.
 *
 * @param {any} role
 * @returns {Record<string, any>}
 */
function messagesOf({ messages, leadership, cache }) {
  const sendToPrimary = messages.sendToPrimary.bind(messages);
  return {
    broadcastToWorkers: messages.broadcast.bind(messages),
    sendToWorker: messages.sendToWorker.bind(messages),
    sendToRandomWorker: messages.sendToRandomWorker.bind(messages),
    sendToPrimary,
    sendToMaster: sendToPrimary,
    onMessage: messages.onMessage.bind(messages),
    registerHandler: (/** @type {string} */ type, /** @type {any} */ handler) => messages.register(type, handler),
    unregisterHandler: messages.unregister.bind(messages),
    onLeader: leadership.onLeader.bind(leadership),
    runOnce: leadership.runOnce.bind(leadership),
    /** Removes the entries, then tells every worker, so that a program's own caches can follow. */
    async invalidateCache(/** @type {string} */ pattern) {
      await cache.invalidate(pattern);
      await messages.invalidate(pattern);
    },
  };
}

/**
 * Defines the methods on an object, replacing its own.
 *
 * @param {any} target
 * @param {ReturnType<typeof methodsOf>} mixed
 */
function mixInto(target, { methods, facts, leadership }) {
  keepViews(target);
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  }
  for (const [name, value] of Object.entries(facts)) {
    Object.defineProperty(target, name, { value, writable: false, configurable: true, enumerable: false });
  }
  const isLeader = { get: () => leadership.isLeader, configurable: true, enumerable: false };
  Object.defineProperty(target, 'isLeader', isLeader);
  return target;
}

/** Express keeps compiled views in `app.cache`, by their names: `render` goes on using its own. @param {any} target */
function keepViews(target) {
  const { cache, render } = target;
  if (cache === undefined || typeof render !== 'function') return;
  /** @this {any} @param {any[]} args */
  function renderWithViews(...args) {
    return render.apply(Object.create(this, { cache: { value: cache } }), args);
  }
  Object.defineProperty(target, 'render', { value: renderWithViews, writable: true, configurable: true, enumerable: false });
}

/** The error of a second start with another port or host: that would be another cluster. */
function alreadyStarted() {
  return new ClusterError('The cluster was started already, with another port or host', 'ALREADY_STARTED');
}

module.exports = { methodsOf, mixInto };
