// @ts-check
'use strict';

// Serving an application of any framework with Node's servers, in a worker or in a single process.

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');
const { createRequire } = require('node:module');
const { ConfigurationError } = require('../errors');

/**
 * A server that waits to listen. A failure comes as the server's `errorEvent`, and rejects. `swallows`: the
 * framework listens by itself and keeps the server's errors from it.
 *
 * @typedef {object} Serving
 * @property {import('node:net').Server} server
 * @property {(port: number | string, host: string | undefined, errorEvent: string | symbol) => Promise<void>} listen
 * @property {boolean} [swallows]
 */

/** @param {import('node:net').Server} server */
function listening(server) {
  return (
    /** @type {number | string} */ port,
    /** @type {string | undefined} */ host,
    /** @type {string | symbol} */ errorEvent,
  ) =>
    new Promise((resolve, reject) => {
      server.once(errorEvent, reject);
      server.once('listening', () => {
        server.removeListener(errorEvent, reject);
        resolve(undefined);
      });
      if (typeof port === 'string' && !/^\d+$/.test(port)) server.listen(port);
      else server.listen(Number(port), host);
    });
}

/** @param {any} options @param {any} listener */
function serverFor(options, listener) {
  const tls = options.key !== undefined || options.cert !== undefined || options.pfx !== undefined;
  return tls ? https.createServer(options, listener) : http.createServer(options, listener);
}

/** @param {any} server @returns {Serving} */
function serving(server) {
  return { server, listen: /** @type {any} */ (listening(server)) };
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
  if (app instanceof net.Server) return serving(app);
  if (typeof app === 'function') return serving(serverFor(options, app));
  if (typeof app?.callback === 'function') return serving(serverFor(options, app.callback()));
  if (typeof app?.getHttpServer === 'function') return nest(app);
  if (app?.server instanceof net.Server && typeof app.listen === 'function') return fastify(app);
  if (typeof app?.fetch === 'function') return serving(serverFor(options, fetchListener(app)));
  throw new ConfigurationError(
    'app must be a request listener, an Express, Koa, Fastify, Hono or Nest application, or an http, https, http2 or net server',
    'CONFIGURATION_INVALID',
  );
}

/** Nest listens by itself: its hooks run then. @param {any} app @returns {Serving} */
function nest(app) {
  return {
    server: app.getHttpServer(),
    listen: (port, host) => (host === undefined ? app.listen(port) : app.listen(port, host)),
    swallows: true,
  };
}

/** Fastify listens by itself: its hooks run then. @param {any} app @returns {Serving} */
function fastify(app) {
  const { server } = app;
  const isPath = (/** @type {any} */ port) => typeof port === 'string' && !/^\d+$/.test(port);
  return {
    server,
    listen: (port, host) => app.listen(isPath(port) ? { path: port } : { port: Number(port), host: host ?? '::' }),
    swallows: true,
  };
}

module.exports = { serve };
