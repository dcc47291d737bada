// @ts-check
'use strict';

// `drover/http-cache`: an RFC 9111 shared cache over `app.cache`, for Express and whatever has its middlewares, Koa and
// Fastify.

const { HttpCache } = require('./core');

/** @param {any} socket */
function schemeOf(socket) {
  return socket?.encrypted ? 'https' : 'http';
}

/**
 * A middleware of Express, or of any program that calls `(request, response, next)`.
 *
 * @param {any} source an app, its cache, or a namespace of it
 * @param {import('./core').Options} [options]
 */
function httpCache(source, options) {
  const core = new HttpCache(source, options);
  return (/** @type {any} */ request, /** @type {any} */ response, /** @type {(error?: unknown) => void} */ next) => {
    core
      .begin({
        request,
        response,
        url: request.originalUrl ?? request.url,
        protocol: request.protocol ?? schemeOf(request.socket),
        before: response.getHeaders(),
        rerun: rerunOf(request.app),
      })
      .then((answer) => (answer === null ? next() : send(response, answer)))
      .catch(next);
  };
}

/** Express' application, with all that comes before the cache. @param {any} app */
function rerunOf(app) {
  if (typeof app !== 'function') return undefined;
  let root = app;
  while (typeof root.parent === 'function') root = root.parent;
  return (/** @type {any} */ request, /** @type {any} */ response) => root(request, response);
}

/** @param {any} response @param {import('./recorder').Answer} answer */
function send(response, { status, headers, body }) {
  if (response.destroyed) return;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.statusCode = status;
  response.end(body);
}

/**
 * A middleware of Koa.
 *
 * @param {any} source an app, its cache, or a namespace of it
 * @param {import('./core').Options} [options]
 */
function koaHttpCache(source, options) {
  const core = new HttpCache(source, options);
  return async (/** @type {any} */ context, /** @type {() => Promise<any>} */ next) => {
    const { req: request, res: response } = context;
    const rerun = (/** @type {any} */ ...pair) => context.app.callback()(...pair);
    const answer = await core.begin({ request, response, url: context.originalUrl, protocol: context.protocol, before: response.getHeaders(), rerun });
    if (answer === null) return next();
    const { status, headers, body } = answer;
    context.status = status;
    context.body = body ?? null;
    // Koa takes a body of null for 204.
    context.status = status;
    if (body !== undefined && headers['content-type'] === undefined) context.remove('content-type');
    context.set(headers);
  };
}

/**
 * A plugin of Fastify: `fastify.register(fastifyHttpCache, { cache: app.cache })`.
 *
 * @param {any} fastify
 * @param {{ cache: any } & import('./core').Options} options
 */
async function fastifyHttpCache(fastify, { cache, ...options }) {
  const core = new HttpCache(cache, options);
  const rerun = (/** @type {any} */ request, /** @type {any} */ response) => fastify.routing(request, response);
  fastify.addHook('onRequest', async (/** @type {any} */ { raw: request, protocol, originalUrl: url }, /** @type {any} */ reply) => {
    const answer = await core.begin({ request, response: reply.raw, url, protocol, before: reply.getHeaders(), rerun });
    if (answer === null) return undefined;
    const { status, headers, body } = answer;
    return reply.code(status).headers(headers).send(body);
  });
}

// As fastify-plugin does: the hook is for the routes of who registers the plugin.
Object.assign(fastifyHttpCache, { [Symbol.for('skip-override')]: true, [Symbol.for('fastify.display-name')]: 'drover-http-cache' });

module.exports = { fastifyHttpCache, httpCache, koaHttpCache };
