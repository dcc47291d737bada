'use strict';

// Without a cluster a process is a cluster of one: what it answers is counted and told as a cluster's is.

const assert = require('node:assert/strict');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const net = require('node:net');
const { once } = require('node:events');
const { Duplex } = require('node:stream');
const { test } = require('node:test');
const { ClusterManager, createServer } = require('..');
const { createCertificate } = require('./helpers/certificate');
const { freePort, h2, keepAlive, request } = require('./helpers/http');

/** /500 and the like answer so, /never does not, other paths answer after 50 ms. */
function listener(asked, response) {
  if (asked.url === '/never') return;
  response.statusCode = Number(asked.url.slice(1)) || 200;
  setTimeout(() => response.end('ok'), 50);
}

const KINDS = {
  http: () => http.createServer(listener),
  https: () => https.createServer(createCertificate(), listener),
  h2c: () => http2.createServer(listener),
  h2: () => http2.createSecureServer({ ...createCertificate(), allowHTTP1: true }, listener),
};

/** Counts are this process's: those since then are an application's. */
async function since(app) {
  const before = await app.getClusterMetrics();
  const less = (now, key) => now[key] - before[key];
  return async () => {
    const now = await app.getClusterMetrics();
    const responses = Object.keys(now.responses).map((status) => [status, now.responses[status] - before.responses[status]]);
    return {
      ...now,
      totalRequests: less(now, 'totalRequests'),
      totalErrors: less(now, 'totalErrors'),
      bytesSent: less(now, 'bytesSent'),
      bytesReceived: less(now, 'bytesReceived'),
      responses: Object.fromEntries(responses.filter(([, count]) => count > 0)),
    };
  };
}

async function serving(t, kind, config = {}) {
  const server = KINDS[kind]();
  const app = createServer({ app: server, cluster: { enabled: false, config } });
  const port = await freePort();
  await app.start(port, '127.0.0.1');
  t.after(() => app.stopCluster(false));
  return { app, server, port, now: await since(app) };
}

/** Two ends of a connection in memory. */
function duplexPair() {
  const ends = [0, 1].map((side) => {
    const end = new Duplex({ read() {}, write: (data, _, done) => (ends[1 - side].push(data), done()) });
    return Object.assign(end, { setTimeout() {}, setNoDelay() {}, setKeepAlive() {}, ref() {}, unref() {} });
  });
  return ends;
}

/** The first metrics of which this is true. */
async function when(now, holds) {
  for (;;) {
    const told = await now();
    if (holds(told)) return told;
    await new Promise(setImmediate);
  }
}

for (const kind of Object.keys(KINDS)) {
  test(`requests, statuses and aborted ones are counted exactly (${kind})`, async (t) => {
    const { port, now } = await serving(t, kind);
    const secure = kind === 'https' || kind === 'h2';
    const ask = kind === 'h2c' || kind === 'h2' ? (path) => h2(port, { path, secure }) : (path) => request(port, { path, secure });
    for (const path of ['/', '/', '/', '/404', '/500']) await ask(path);
    // Over HTTP/1 where an HTTP/2 server allows it.
    if (kind === 'h2') await request(port, { path: '/404', secure: true });
    const told = await when(now, ({ activeRequests, activeConnections }) => activeRequests === 0 && activeConnections === 0);
    assert.deepEqual(told.responses, { '2xx': 3, '4xx': kind === 'h2' ? 2 : 1, '5xx': 1 });
    assert.equal(told.totalRequests, kind === 'h2' ? 6 : 5);
    assert.equal(told.totalErrors, 1);
    assert.ok(told.bytesSent > 0 && told.bytesReceived > 0);
  });
}

// Before the tests whose responses take other times: these are of the process's last minute.
test('the metrics have times, process, machine and the program’s own values', async (t) => {
  const { app, port, now } = await serving(t, 'http');
  app.metrics.counter('jobs', 'Jobs that are done').inc(3);
  const client = keepAlive(port);
  t.after(() => client.close());
  const asked = async () => {
    await client.request({ path: '/' });
    return now();
  };
  // It is looked at once a second at most.
  let told = await asked();
  while (told.p50 === 0) told = await asked();
  assert.ok(told.p50 >= 48 && told.averageResponseTime >= 48, JSON.stringify(told));
  assert.ok(told.requestsPerSecond > 0 && told.memoryUsage > 0 && told.system.memory.total > 0);
  assert.deepEqual(told.userMetrics.jobs.values, [{ labels: {}, value: 3 }]);
  const [worker] = app.getAllWorkers();
  assert.deepEqual([worker.id, worker.pid, worker.state, worker.port, worker.healthy], ['0', process.pid, 'running', port, true]);
  assert.ok(worker.requestCount >= 2 && worker.memoryUsage > 0);
  assert.equal((await app.getClusterHealth()).status, 'healthy');
  // Its bytes are counted at its end, and are not to be the next test's.
  client.close();
  await when(now, ({ activeConnections }) => activeConnections === 0);
});

test('a request whose connection ends before the response is an error without a status; bytes are counted on the wire', async (t) => {
  const { port, now } = await serving(t, 'http');
  const socket = net.connect(port, '127.0.0.1');
  socket.write('GET /200 HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(socket, 'data');
  socket.write('GET /never HTTP/1.1\r\nHost: a\r\n\r\n');
  await when(now, ({ activeRequests }) => activeRequests === 1);
  socket.destroy();
  const told = await when(now, ({ activeRequests, activeConnections }) => activeRequests === 0 && activeConnections === 0);
  assert.deepEqual([told.totalRequests, told.totalErrors, told.responses], [2, 1, { '2xx': 1 }]);
  assert.deepEqual([told.bytesReceived, told.bytesSent], [socket.bytesWritten, socket.bytesRead]);
});

test('pipelined requests are counted when they are handled, and unhandled ones never', async (t) => {
  const { port, now } = await serving(t, 'http');
  const socket = net.connect(port, '127.0.0.1');
  const ask = (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
  socket.write(ask('/200') + ask('/404') + ask('/never') + ask('/200') + ask('/200'));
  await when(now, ({ totalRequests, activeRequests }) => totalRequests === 3 && activeRequests === 1);
  socket.destroy();
  const told = await when(now, ({ activeRequests, activeConnections }) => activeRequests === 0 && activeConnections === 0);
  assert.deepEqual([told.totalRequests, told.totalErrors, told.responses], [3, 1, { '2xx': 1, '4xx': 1 }]);
});

test('a connection that is not a net.Socket does not distort the metrics', async (t) => {
  const { server, now } = await serving(t, 'http');
  const [mine, its] = duplexPair();
  server.emit('connection', its);
  mine.resume();
  for (let count = 1; count <= 3; count += 1) {
    mine.write('GET /200 HTTP/1.1\r\nHost: a\r\n\r\n');
    await when(now, ({ responses }) => responses['2xx'] === count);
  }
  mine.destroy();
  const told = await now();
  assert.deepEqual([told.totalRequests, told.bytesReceived, told.bytesSent], [3, 0, 0]);
});

test('a manager without a cluster stands for its program', async () => {
  const manager = new ClusterManager({ enabled: false });
  await manager.start();
  assert.equal((await manager.getHealth()).status, 'healthy');
  assert.equal(manager.getWorkers()[0].state, 'running');
});

test('it is healthy while it listens', async () => {
  const app = createServer({ app: KINDS.http(), cluster: { enabled: false } });
  const state = async () => [(await app.getClusterHealth()).status, app.getAllWorkers()[0].state];
  assert.deepEqual(await state(), ['critical', 'starting']);
  await app.start(await freePort(), '127.0.0.1');
  assert.deepEqual(await state(), ['healthy', 'running']);
  await app.stopCluster();
  assert.deepEqual(await state(), ['critical', 'stopping']);
});

test('with monitoring switched off nothing is counted', async (t) => {
  const { port, now } = await serving(t, 'http', { monitoring: { enabled: false } });
  await request(port);
  assert.equal((await now()).totalRequests, 0);
});
