// @ts-check
'use strict';

// Serving an application of any framework with Node's servers, in a worker or in a single process.

const { errorMonitor } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');
const { createRequire } = require('node:module');
const { ConfigurationError } = require('../errors');

/** @typedef {import('node:net').ListenOptions & { fd?: number }} ListenOptions what Node's `server.listen` takes */

/** A server that waits to listen. */
class Serving {
  /** What the server has emitted as 'error' while it began to listen. @type {unknown} */
  #told = null;

  /**
   * @param {import('node:net').Server} server
   * @param {(options: ListenOptions) => Promise<unknown>} [listen] the framework listens by itself, and keeps the
   *   server's errors from it
   */
  constructor(server, listen) {
    this.server = server;
    this.listen = listen;
  }

  /**
   * Resolves when it serves. A failure comes as the server's `errorEvent`, and rejects: 'error' takes the failure from
   * the server, `errorMonitor` only watches it.
   *
   * @param {ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(options, errorEvent) {
    const { server } = this;
    const note = (/** @type {unknown} */ error) => {
      this.#told = error;
    };
    server.once(errorMonitor, note);
    try {
      await (this.listen?.(options) ?? begin(server, options, errorEvent));
    } finally {
      server.removeListener(errorMonitor, note);
    }
  }

  /** It cannot listen: what the server has not said itself, or a framework has kept to itself, is said here. @param {unknown} error */
  fail(error) {
    const { server } = this;
    const kept = this.listen !== undefined && server.listenerCount('error') === 0;
    if (this.#told !== error || kept) process.nextTick(() => server.emit('error', error));
  }
}

/**
 * @param {import('node:net').Server} server
 * @param {ListenOptions} options
 * @param {string | symbol} errorEvent
 */
function begin(server, options, errorEvent) {
  return new Promise((resolve, reject) => {
    const settle = (/** @type {(value: any) => void} */ act) => (/** @type {unknown} */ value) => {
      server.removeListener(errorEvent, fail);
      server.removeListener('listening', done);
      act(value);
    };
    const fail = settle(reject);
    const done = settle(resolve);
    server.once(errorEvent, fail);
    server.once('listening', done);
    try {
      server.listen(options);
    } catch (error) {
      fail(error);
    }
  });
}

/** @param {any} options @param {any} listener */
function serverFor(options, listener) {
  const tls = options.key !== undefined || options.cert !== undefined || options.pfx !== undefined;
  return tls ? https.createServer(options, listener) : http.createServer(options, listener);
}

/**
 * Hono's adapter for Node is the application's dependency, not drover's.
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
 * What kind of application it is decides how it is served.
 *
 * @param {any} app
 * @param {any} options for http.createServer, or https.createServer with key and cert
 * @returns {Serving}
 */
function serve(app, options) {
  if (app instanceof net.Server) return new Serving(app);
  if (typeof app === 'function') return new Serving(serverFor(options, app));
  if (typeof app?.callback === 'function') return new Serving(serverFor(options, app.callback()));
  if (typeof app?.getHttpServer === 'function') return nest(app);
  if (app?.server instanceof net.Server && typeof app.listen === 'function') return fastify(app);
  if (typeof app?.fetch === 'function') return new Serving(serverFor(options, fetchListener(app)));
  throw new ConfigurationError(
    'app must be a request listener, an Express, Koa, Fastify, Hono or Nest application, or an http, https, http2 or net server',
    'CONFIGURATION_INVALID',
  );
}

/** Nest listens by itself: its hooks run then. @param {any} app @returns {Serving} */
function nest(app) {
  return new Serving(app.getHttpServer(), ({ port, host, path, ...more }) => {
    const isPlain = Object.values(more).every((value) => value === undefined);
    if (!isPlain) return app.listen({ port, host, path, ...more });
    return host === undefined || path !== undefined ? app.listen(path ?? port) : app.listen(port, host);
  });
}

/** Fastify listens by itself: its hooks run then. @param {any} app @returns {Serving} */
function fastify(app) {
  return new Serving(app.server, ({ port, ...options }) => {
    if (port === undefined) return app.listen(options);
    return app.listen({ ...options, port: Number(port), host: options.host ?? '::' });
  });
}

exports.Serving = Serving;
exports.serve = serve;
