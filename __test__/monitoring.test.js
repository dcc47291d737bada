'use strict';

// The monitoring API: what it answers, to whom, and that it does while the primary's JavaScript stands still.

const assert = require('node:assert/strict');
const net = require('node:net');
const path = require('node:path');
const { once } = require('node:events');
const { test } = require('node:test');
const { monitoringPort } = require('./helpers/monitoring');
const { remoteApi } = require('./helpers/remote-api');
const { freePort, request, tcp } = require('./helpers/http');
const { noNetworks, program } = require('./helpers/program');

/** Blocks the primary at SIGUSR2. */
function monitored({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((_, response) => response.end('ok')),
    cluster: { enabled: true, config: { workers: 2, ...config } },
  });
  app.start(port, '127.0.0.1').then(
    () => {
      if (!app.isPrimary) return;
      process.on('SIGUSR2', () => {
        console.log('BLOCKED');
        for (;;);
      });
      console.log('the cluster is ready');
    },
    (error) => {
      console.log(`REFUSED ${error.code} ${JSON.stringify(error.details)}`);
      process.exit(1);
    },
  );
}

async function serving(t, monitoring = { port: 0 }) {
  const port = await freePort();
  const cluster = program(t, monitored, { given: { port, config: { monitoring } } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

const post = (api, path, body, headers = {}) =>
  request(api, { method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body: body && JSON.stringify(body) });

test('the monitoring API answers at once while the primary’s JavaScript is blocked', async (t) => {
  const { cluster, api } = await serving(t);
  cluster.signal('SIGUSR2');
  await cluster.until(/BLOCKED/);
  for (const path of ['/cluster/health', '/cluster/stats', '/cluster/workers', '/metrics', '/openapi.json']) {
    assert.equal((await request(api, { path })).status, 200, path);
  }
  assert.equal((await post(api, '/cluster/scale', { workers: 3 })).status, 200);
  assert.equal((await request(api, { path: '/cluster/workers' })).json().length, 3);
  cluster.signal('SIGKILL');
});

test('the monitoring API scales and restarts the cluster, and reports invalid commands', async (t) => {
  const { api } = await serving(t);
  const ids = async () => (await request(api, { path: '/cluster/workers' })).json().map(({ id, generation }) => `${id}.${generation}`);
  assert.equal((await post(api, '/cluster/scale', { workers: 3 })).status, 200);
  assert.deepEqual(await ids(), ['0.1', '1.1', '2.1']);
  assert.deepEqual((await post(api, '/cluster/restart')).json(), { workers: ['0', '1', '2'] });
  assert.deepEqual(await ids(), ['0.2', '1.2', '2.2']);
  assert.deepEqual((await post(api, '/cluster/workers/1/restart')).json(), { workers: ['1'] });
  assert.deepEqual(await ids(), ['0.2', '1.3', '2.2']);
  for (const [path, body, status, code] of [
    ['/cluster/scale', { workers: 0 }, 400, 'INVALID_ARGUMENT'],
    ['/cluster/scale', {}, 422, 'INVALID_ARGUMENT'],
    ['/cluster/scale', { workers: 2, wrokers: 3 }, 422, 'INVALID_ARGUMENT'],
    ['/cluster/log-level', { level: 'info', componnent: 'dispatch' }, 422, 'INVALID_ARGUMENT'],
    ['/cluster/workers/%FF/restart', undefined, 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/%FF/heap-snapshot', undefined, 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/9/restart', undefined, 404, 'NO_SUCH_WORKER'],
    ['/cluster/workers/x/restart', undefined, 400, 'INVALID_ARGUMENT'],
    ['/nothing', undefined, 404, 'NOT_FOUND'],
    ['/cluster/health', undefined, 405, 'METHOD_NOT_ALLOWED'],
  ]) {
    const answer = await post(api, path, body);
    assert.deepEqual([answer.status, answer.json().error.code], [status, code], path);
  }
});

test('with a token configured POST requires it, and GET does not', async (t) => {
  const { api } = await serving(t, { port: 0, token: 'a token of some length' });
  assert.equal((await request(api, { path: '/cluster/stats' })).status, 200);
  for (const authorization of [undefined, 'Bearer wrong', 'a token of some length', 'Bearer ']) {
    const answer = await post(api, '/cluster/restart', undefined, authorization && { authorization });
    assert.deepEqual([answer.status, answer.json().error.code], [401, 'UNAUTHORIZED'], authorization);
  }
  for (const authorization of ['Bearer a token of some length', 'bearer a token of some length'])
    assert.equal((await post(api, '/cluster/restart', undefined, { authorization })).status, 200);
});

test('beyond loopback everything requires the token, except for this user over the control socket', { skip: noNetworks }, async (t) => {
  const { api, socket } = await remoteApi(t, monitored, { token: 'a token of some length' });
  const paths = ['/cluster/stats', '/cluster/workers', '/cluster/logs', '/cluster/errors', '/cluster/events', '/metrics', '/openapi.json', '/nothing'];
  for (const path of paths) {
    const answer = await request(api, { path });
    assert.deepEqual([answer.status, answer.json().error.code], [401, 'UNAUTHORIZED'], path);
    assert.equal(answer.headers['www-authenticate'], 'Bearer');
  }
  const shown = { authorization: 'Bearer a token of some length' };
  for (const path of ['/cluster/stats', '/metrics', '/openapi.json'])
    assert.equal((await request(api, { path, headers: shown })).status, 200, path);
  // The page is the same for everybody, and asks for the token.
  for (const path of ['/', '/dashboard/main.js']) assert.equal((await request(api, { path })).status, 200, path);
  assert.equal((await request(socket, { path: '/cluster/stats' })).status, 200);
  assert.equal((await request(socket, { path: '/cluster/restart', method: 'POST' })).status, 401);
});

test('pages of other sites and rebound names are refused', async (t) => {
  const { api } = await serving(t);
  for (const headers of [
    { host: 'evil.example' },
    { host: `evil.example:${api}` },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
  ]) {
    const answer = await request(api, { path: '/cluster/stats', headers });
    assert.deepEqual([answer.status, answer.json().error.code], [403, 'FORBIDDEN'], JSON.stringify(headers));
  }
  const own = { host: `localhost:${api}`, origin: `http://localhost:${api}` };
  assert.equal((await request(api, { path: '/cluster/stats', headers: own })).status, 200);
});

test('the OpenAPI document names exactly the members of health, metrics and workers', async (t) => {
  const { api } = await serving(t);
  const get = async (path) => (await request(api, { path })).json();
  const { components } = await get('/openapi.json');
  const stats = await get('/cluster/stats');
  for (const [name, told] of [
    // Without `redis` in the configuration there is no fleet.
    ['Health', { ...(await get('/cluster/health')), fleet: null }],
    ['Metrics', stats],
    ['Worker', stats.workers[0]],
  ]) {
    assert.deepEqual(Object.keys(components.schemas[name].properties).sort(), Object.keys(told).sort(), name);
  }
});

test('history returns the last seconds of a metric', async (t) => {
  const { api } = await serving(t);
  let points = [];
  while (points.length < 2) ({ points } = (await request(api, { path: '/cluster/history?metric=activeWorkers' })).json());
  assert.deepEqual(points.map(([, value]) => value), points.map(() => 2));
  for (const query of ['', '?metric=nothing', '?metric=p99&step=x']) {
    assert.equal((await request(api, { path: `/cluster/history${query}` })).status, 400, query);
  }
});

test('/metrics returns OpenMetrics on request, and can be disabled', async (t) => {
  const { api } = await serving(t);
  const plain = await request(api, { path: '/metrics' });
  assert.match(plain.headers['content-type'], /^text\/plain; version=0\.0\.4/);
  const open = await request(api, { path: '/metrics', headers: { accept: 'application/openmetrics-text; version=1.0.0' } });
  assert.match(open.headers['content-type'], /^application\/openmetrics-text/);
  assert.match(open.body, /# EOF\n$/);
  const { api: without } = await serving(t, { port: 0, exportMetrics: false });
  assert.equal((await request(without, { path: '/metrics' })).status, 404);
});

test('the default monitoring port may change if it is in use; a configured one may not', async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address();
  const cluster = program(t, monitored, { given: { port: await freePort(), config: { monitoring: { port } } } });
  const [, code, details] = await cluster.until(/^REFUSED (\S+) (.*)$/m);
  assert.equal(code, 'SYSTEM');
  assert.match(details, /monitoring\.port/);
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
});

test('without monitoring nothing listens; without a port only the control socket does', async (t) => {
  for (const [monitoring, places] of [
    [{ enabled: false }, []],
    [{ port: false }, [[null, '.sock']]],
  ]) {
    const cluster = program(t, monitored, { given: { port: await freePort(), config: { monitoring } } });
    await cluster.until(/the cluster is ready/);
    cluster.signal('SIGTERM');
    await cluster.event('cluster:stopped');
    const told = cluster.events('monitoring:listening').map(({ url, socket }) => [url, socket && path.extname(socket)]);
    assert.deepEqual(told, places);
  }
});

test('a client that sends nothing is disconnected, and others are served meanwhile', async (t) => {
  const { api } = await serving(t);
  const silent = await Promise.all(Array.from({ length: 20 }, () => tcp(api)));
  assert.equal((await request(api, { path: '/cluster/health' })).status, 200);
  for (const connection of silent) connection.close();
});
