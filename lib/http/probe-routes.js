// @ts-check
'use strict';

// GET /health and /ready of an application that drover created, if the program has no such routes: they come after
// every route, middleware and error handler of the program.

const path = require('node:path');

const PROBES = new Set(['/health', '/ready']);

/** @param {any} request */
function probeOf(request) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return null;
  const end = request.url.indexOf('?');
  const asked = end < 0 ? request.url : request.url.slice(0, end);
  return PROBES.has(asked) ? asked : null;
}

/** @param {any} app an Express application @param {any} role */
function answerProbes(app, role) {
  const { handle } = app;
  app.handle = function (/** @type {any} */ request, /** @type {any} */ response, /** @type {any} */ next) {
    const probe = next === undefined ? probeOf(request) : null;
    if (probe === null) return handle.call(this, request, response, next);
    return handle.call(this, request, response, (/** @type {unknown} */ error) => {
      if (error) finish(this, request, response, error);
      // A middleware may call `next` although it has responded.
      else if (!response.headersSent) answer(probe, role, request, response);
    });
  };
}

/** Ends a request whose handler failed, as Express does. */
function finish(/** @type {any} */ app, /** @type {any} */ request, /** @type {any} */ response, /** @type {any} */ error) {
  const express = path.dirname(require.resolve('express'));
  const finalhandler = require(require.resolve('finalhandler', { paths: [express] }));
  const env = app.get('env');
  const onerror = (/** @type {any} */ failed) => env === 'test' || console.error(failed.stack ?? String(failed));
  finalhandler(request, response, { env, onerror })(error);
}

/** @param {string} probe @param {any} role @param {any} request @param {any} response */
function answer(probe, role, request, response) {
  const ready = role.isReady();
  const status = probe === '/ready' && !ready ? 503 : 200;
  const details = {
    memory: process.memoryUsage(),
    version: process.version,
  };
  const body = JSON.stringify({
    status: status === 503 ? 'unavailable' : probe === '/ready' ? 'ready' : 'healthy',
    timestamp: new Date().toISOString(),
    uptime: process.uptime(),
    worker: process.pid,
    workerId: role.workerId ?? null,
    ...(process.env.NODE_ENV === 'production' ? {} : details),
  });
  const headers = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(body) };
  response.writeHead(status, { ...headers, 'Cache-Control': 'no-store' });
  response.end(request.method === 'HEAD' ? undefined : body);
}

module.exports = { answerProbes };
