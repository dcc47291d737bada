// @ts-check
'use strict';

// Serves an application of any framework with Node's servers, in a worker or in a single process.

const { errorMonitor } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const path = require('node:path');
const { createRequire } = require('node:module');
const { ConfigurationError } = require('../errors');
const runtime = require('../runtime');

/** @typedef {import('node:net').ListenOptions & { fd?: number }} ListenOptions the options of Node's `server.listen` */

/** A server with its own way to start listening. */
class Serving {
  /** The 'error' that the server emitted while it started to listen. @type {unknown} */
  #emitted = null;

  /**
   * @param {import('node:net').Server} server
   * @param {(options: ListenOptions) => Promise<unknown>} [listen] the framework's own `listen`, which may hide the
   * server's errors
   */
  constructor(server, listen) {
    this.server = server;
    this.listen = listen;
  }

  /**
   * Resolves when the server listens; rejects when it fails. `errorEvent` is the event to listen to: 'error' handles
   * the failure, `errorMonitor` only observes it.
   *
   * @param {ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(options, errorEvent) {
    const begun = this.begin(options, errorEvent);
    // A framework may choose its server during `listen`. No server emits its failure within this tick.
    const { server } = this;
    const note = (/** @type {unknown} */ error) => {
      this.#emitted = error;
    };
    server.once(errorMonitor, note);
    try {
      await begun;
    } finally {
      server.removeListener(errorMonitor, note);
    }
  }

  /** @param {ListenOptions} options @param {string | symbol} errorEvent @returns {Promise<unknown>} */
  async begin(options, errorEvent) {
    if (this.listen !== undefined) return this.listen(options);
    const { server } = this;
    return untilListening(server, errorEvent, () => server.listen(options));
  }

  /** Replaces the server by the one that the framework uses. @param {import('node:net').Server} server */
  use(server) {
    this.server = server;
  }

  /**
   * The server cannot listen: emits the error if the server has not emitted it or the framework has hidden it.
   * @param {unknown} error
   */
  fail(error) {
    const { server } = this;
    const kept = this.listen !== undefined && server.listenerCount('error') === 0;
    if (this.#emitted !== error || kept) process.nextTick(() => server.emit('error', error));
  }
}

/**
 * Resolves when the server listens; rejects with its error.
 *
 * @param {import('node:net').Server} server
 * @param {string | symbol} errorEvent
 * @param {() => void} [act] calls `listen`
 */
function untilListening(server, errorEvent, act) {
  return new Promise((resolve, reject) => {
    const once = (/** @type {(value: any) => void} */ act) => (/** @type {unknown} */ value) => {
      server.removeListener(errorEvent, fail);
      server.removeListener('listening', done);
      act(value);
    };
    const fail = once(reject);
    const done = once(resolve);
    server.once(errorEvent, fail);
    server.once('listening', done);
    try {
      act?.();
    } catch (error) {
      fail(error);
    }
  });
}

/** @param {any} options */
function isTls(options) {
  return options.key !== undefined || options.cert !== undefined || options.pfx !== undefined;
}

/** @param {any} options @param {any} [listener] */
function serverFor(options, listener) {
  return isTls(options) ? https.createServer(options, listener) : http.createServer(options, listener);
}

/**
 * Loads Hono's adapter for Node, which is a dependency of the application, not of drover.
 *
 * @param {any} app
 */
function fetchListener(app) {
  const from = createRequire(path.resolve(process.argv[1] ?? 'index.js'));
  try {
    return from('@hono/node-server').getRequestListener(app.fetch.bind(app));
  } catch (error) {
    throw new ConfigurationError(
      `An app with fetch() needs the package @hono/node-server under Node.js: npm install @hono/node-server (${/** @type {Error} */ (error).message})`,
      'CONFIGURATION_INVALID',
    );
  }
}

/**
 * Chooses how an application is served by its kind.
 *
 * @param {any} app
 * @param {any} options for http.createServer, or https.createServer with key and cert
 * @param {boolean} isGiven given by the program; its `listen` is not drover's
 * @returns {Serving}
 */
function serve(app, options, isGiven) {
  if (runtime.isServer(app)) return new Serving(app);
  const listens = isGiven && typeof app?.listen === 'function';
  if (listens && (typeof app === 'function' || typeof app.callback === 'function')) return new OwnListen(app, options);
  if (typeof app === 'function') return new Serving(serverFor(options, app));
  if (typeof app?.callback === 'function') return new Serving(serverFor(options, app.callback()));
  if (typeof app?.getHttpServer === 'function') return nest(app);
  if (runtime.isServer(app?.server) && typeof app.addHook === 'function') return fastify(app);
  if (typeof app?.fetch === 'function') {
    return new Serving(runtime.acceptsItself ? /** @type {any} */ (runtime.fetchServer(app, options)) : serverFor(options, fetchListener(app)));
  }
  if (listens) return new OwnListen(app, options);
  throw new ConfigurationError(
    'app must be a request listener, an Express, Koa, Fastify, Hono or Nest application, another with a listen() of its own, or an http, https, http2 or net server',
    'CONFIGURATION_INVALID',
  );
}

/**
 * Calls a framework's `listen` in the simplest form that can express the options, which every framework supports.
 *
 * @param {any} app
 * @param {ListenOptions} options
 */
function listenWith(app, { port, host, path, ...more }) {
  const isPlain = Object.values(more).every((value) => value === undefined);
  if (!isPlain) return app.listen({ port, host, path, ...more });
  return host === undefined || path !== undefined ? app.listen(path ?? port) : app.listen(port, host);
}

/** Nest's own `listen` is used, so that its hooks run. @param {any} app @returns {Serving} */
function nest(app) {
  return new Serving(app.getHttpServer(), (options) => listenWith(app, options));
}

/** Fastify's own `listen` is used, so that its hooks run. @param {any} app @returns {Serving} */
function fastify(app) {
  return new Serving(app.server, ({ port, ...options }) => {
    if (port === undefined) return app.listen(options);
    return app.listen({ ...options, port: Number(port), host: options.host ?? '::' });
  });
}

/**
 * An application that is started by its own `listen`, which may do more than Express' and Koa's: Feathers sets up its
 * services, express-ws has a server already. A server that it creates meanwhile gets the program's options.
 */
class OwnListen extends Serving {
  /** @param {any} app @param {any} options */
  constructor(app, options) {
    super(serverFor(options));
    this.app = app;
    this.hasOptions = Object.keys(options).length > 0;
  }

  /** @override @param {ListenOptions} options @param {string | symbol} errorEvent */
  async begin(options, errorEvent) {
    const { started, returned } = this.#call(options);
    if (started !== undefined) {
      this.#serveWith(started);
      await Promise.all([untilListening(started, errorEvent), returned]);
      return;
    }
    const result = await returned;
    const found = [result, result?.server, this.app.server].find(runtime.isServer);
    if (found === undefined) throw new ConfigurationError('The listen() of app has started no server of Node.js', 'CONFIGURATION_INVALID');
    this.#serveWith(found);
    if (!found.listening) await untilListening(found, errorEvent);
  }

  /** @param {import('node:net').Server} found */
  #serveWith(found) {
    if (found !== this.server && this.hasOptions) {
      throw new ConfigurationError(
        'The options in `server` cannot be used: the listen() of app has a server of its own. Give them to the framework.',
        'CONFIGURATION_INVALID',
      );
    }
    this.use(found);
  }

  /**
   * Returns the result of the application's `listen` and the first server whose `listen` was called meanwhile.
   * @param {ListenOptions} options
   */
  #call(options) {
    const { createServer } = http;
    const { server } = this;
    let isTaken = false;
    /** @type {import('node:net').Server | undefined} */
    let started;
    http.createServer = /** @type {any} */ (
      (/** @type {any[]} */ ...args) => {
        if (isTaken) return Reflect.apply(createServer, http, args);
        isTaken = true;
        const listener = args.find((value) => typeof value === 'function');
        if (listener !== undefined) server.on('request', listener);
        return server;
      }
    );
    const restore = runtime.serverClasses.map(({ prototype }) => {
      const { listen } = prototype;
      /** @this {any} @param {any[]} args */
      prototype.listen = function (...args) {
        started ??= this;
        return Reflect.apply(listen, this, args);
      };
      return () => {
        prototype.listen = listen;
      };
    });
    try {
      const returned = listenWith(this.app, options);
      return { started, returned };
    } finally {
      http.createServer = createServer;
      for (const restoreOne of restore) restoreOne();
    }
  }
}

exports.Serving = Serving;
exports.serve = serve;
