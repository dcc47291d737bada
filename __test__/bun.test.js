'use strict';

// drover under Bun: programs are clustered as they are, in JavaScript and TypeScript, with Bun's own servers and those of
// Node's modules. An older Bun serves with one process, and says why.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { findBun } = require('./helpers/buns');
const { freePort, request, websocket } = require('./helpers/http');
const { kinds, overHttp, overTcp, overWebsocket, placeFor } = require('./helpers/kinds');
const { packages } = require('./helpers/packages');
const { monitoringPort } = require('./helpers/monitoring');
const { answering, ask } = require('./helpers/persistent-clients');
const { program } = require('./helpers/program');
const { run } = require('./helpers/run');

/** One whose libuv aborts. */
const OLD = '1.3.14';

const ELYSIA = '1.4.30';

const programs = path.join(__dirname, 'fixtures', 'bun');

/** Connections that are made one after the other; round-robin brings the second worker in by the second. */
const VISITS = 6;

const CLIENTS = 8;

const CONFIG = { workers: 2, loadBalancing: { healthAware: false }, monitoring: { port: false } };

/** A program with Bun's own servers, under __test__/fixtures/bun. */
const own = (name, ask = overHttp, more = {}) => ({ name, says: name, script: path.join(programs, `${name}.ts`), ready: new RegExp(`${name} is listening`), ask, ...more });

const ownKinds = [
  own('serve'),
  own('default-export'),
  own('hono'),
  own('elysia', overHttp, { needs: { elysia: ELYSIA } }),
  own('websocket', overWebsocket, { echoes: true }),
  own('listen', overTcp, { echoes: true }),
  own('https', async ({ port }) => (await request(port, { secure: true })).json(), { tls: true }),
  own('unix', async ({ socketPath }) => (await request(socketPath)).json()),
];

/** Of the programs that Node runs too: one for each kind of server, and for each framework. */
const NODE = ['http', 'https', 'net', 'express', 'fastify', 'koa', 'socket.io', 'ws', 'unix-socket'];
const nodeKinds = kinds.filter(({ name }) => NODE.includes(name));

/** Starts the program in two workers; `place` is where it is. */
async function clustered(t, bun, kind, config) {
  const { place, env } = await placeFor(t, kind);
  const found = kind.needs === undefined ? null : await packages(t, kind.needs);
  if (kind.needs !== undefined && found === null) return null;
  env.CLUSTER_CONFIG = JSON.stringify({ ...CONFIG, ...config });
  if (found !== null) env.NODE_PATH = path.join(found, 'node_modules');
  const cluster = run(t, path.join(programs, 'managed.ts'), { args: [kind.script], env, node: bun });
  await cluster.until(/the cluster is ready/);
  await cluster.untilMany(2, kind.ready);
  return { cluster, place };
}

for (const [whose, all] of [['Bun’s own', ownKinds], ['Node’s', nodeKinds]]) {
  for (const kind of all) {
    test(`under Bun two workers serve a program with ${whose} servers: ${kind.name}`, async (t) => {
      const bun = await findBun(t);
      const made = bun && (await clustered(t, bun, kind));
      if (made === null) return;
      const { cluster, place } = made;
      const answers = [];
      for (let visit = 0; visit < VISITS; visit += 1) answers.push(await kind.ask(place));
      assert.deepEqual(answers.filter((answer) => answer.kind !== kind.says || answer.pid === cluster.pid), []);
      assert.deepEqual([...new Set(answers.map(({ worker }) => worker))].sort(), ['0', '1'], JSON.stringify(answers));
      if (kind.echoes) assert.ok(answers.every(({ echo }) => echo === 'echo'));
      cluster.signal('SIGTERM');
      assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
      await cluster.gone();
    });
  }
}

test('under Bun the routes of Bun.serve answer in a worker as without drover', async (t) => {
  const bun = await findBun(t);
  const made = bun && (await clustered(t, bun, ownKinds[0]));
  if (made === null) return;
  const { port } = made.place;
  assert.deepEqual((await request(port, { path: '/users/ann' })).json(), { name: 'ann' });
  assert.deepEqual((await request(port, { path: '/orders', method: 'POST', body: '{"number":7}' })).json(), { number: 7 });
  assert.equal((await request(port, { path: '/static' })).body, 'static');
  const missing = await request(port, { path: '/nowhere' });
  assert.deepEqual([missing.status, missing.json()], [404, { missing: '/nowhere' }]);
});

for (const [way, signal] of [['a roll', 'SIGHUP'], ['a stop', 'SIGTERM']]) {
  test(`under Bun the WebSockets of Bun.serve get a close frame with 1001 in ${way}`, async (t) => {
    const bun = await findBun(t);
    const made = bun && (await clustered(t, bun, ownKinds.find(({ name }) => name === 'websocket')));
    if (made === null) return;
    const { cluster, place } = made;
    const { socket, message } = await websocket(place.port);
    const { worker } = JSON.parse(await message());
    const closed = once(socket, 'close');
    cluster.signal(signal);
    const [code, reason] = await closed;
    assert.deepEqual([code, String(reason)], [1001, 'going away'], `of worker ${worker}`);
  });
}

/** A clustered application: of Express, or of `fetch`, whose requests have ids. */
function serving({ port, config, isFetch, enabled = true }) {
  const { createServer, requestId } = require('drover');
  const own = isFetch && { fetch: ({ url }) => Response.json({ pid: process.pid, path: new URL(url).pathname, id: requestId() }) };
  const app = createServer({ ...(own && { app: own }), cluster: { enabled, config } });
  if (!isFetch) app.get('/', (_, response) => response.json({ pid: process.pid }));
  app.onMessage('metrics', () => app.getClusterMetrics());
  app.start(port, '127.0.0.1').then(async () => {
    console.log(`SERVES ${app.isPrimary} ${app.isWorker}`);
    if (app.isPrimary) setInterval(async () => console.log(`REQUESTS ${(await app.getClusterMetrics()).totalRequests}.`), 100).unref();
  });
}

for (const isFetch of [false, true]) {
  test(`under Bun createServer starts a cluster that serves and is measured: ${isFetch ? 'an app with fetch' : 'Express'}`, async (t) => {
    const bun = await findBun(t);
    if (bun === null) return;
    const port = await freePort();
    const config = { ...CONFIG, logging: { requestIds: true } };
    const cluster = program(t, serving, { given: { port, config, isFetch }, node: bun });
    await cluster.untilMany(3, /SERVES/);
    const answers = [];
    for (let visit = 0; visit < VISITS; visit += 1) {
      const answer = await request(port, { headers: { 'x-request-id': `id-${visit}` } });
      answers.push({ ...answer.json(), header: answer.headers['x-worker-id'] });
    }
    assert.deepEqual([...new Set(answers.map(({ pid }) => pid))].sort(), cluster.workers().sort());
    if (isFetch) assert.deepEqual(answers.map(({ id }) => id), answers.map((_, visit) => `id-${visit}`));
    await cluster.until(new RegExp(`REQUESTS ${VISITS}\\.`));
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  });
}

test('under Bun an app with fetch is served without a cluster too, with its metrics', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const server = program(t, serving, { given: { port, isFetch: true, enabled: false }, node: bun });
  await server.until(/SERVES true false/);
  for (let visit = 0; visit < VISITS; visit += 1) assert.equal((await request(port, { path: '/x' })).json().path, '/x');
  await server.until(new RegExp(`REQUESTS ${VISITS}\\.`));
});

/** One worker of `Bun.serve`: a static route, a stream of three parts, an upgrade, and what is never answered. */
function counting({ port }) {
  const { createServer } = require('drover');
  const { Bun } = globalThis;
  const parts = async function* () {
    for (const part of ['a', 'b', 'c']) {
      await Bun.sleep(50);
      yield part;
    }
  };
  const app = {
    routes: { '/static': new Response('static') },
    websocket: { message() {} },
    fetch(request, server) {
      const { pathname } = new URL(request.url);
      if (pathname === '/stream') return new Response(parts());
      if (pathname === '/upgrade' && server.upgrade(request)) return undefined;
      if (pathname === '/never') return new Promise(() => {});
      return new Response('answer', { status: pathname === '/broken' ? 500 : 200 });
    },
  };
  createServer({ app, cluster: { enabled: true, config: { workers: 1, monitoring: { port: 0 } } } }).start(port, '127.0.0.1');
}

/** Sends text, and reads up to the end of the connection or `upTo`. */
async function talk(port, text, upTo = null) {
  const socket = net.connect(port, '127.0.0.1').setEncoding('utf8');
  socket.write(text);
  let told = '';
  for await (const part of socket) {
    told += part;
    if (upTo !== null && told.includes(upTo)) break;
  }
  return told;
}

test('under Bun each request of Bun.serve is counted once, by what passes on its connection', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const cluster = program(t, counting, { given: { port }, node: bun });
  const api = await monitoringPort(cluster);
  await cluster.until(/All 1 workers are ready/);
  const ask = (path, version = '1.1', more = '') => `GET ${path} HTTP/${version}\r\nHost: a\r\n${more}\r\n`;
  const last = 'Connection: close\r\n';
  await talk(port, ask('/static') + ask('/broken') + ask('/stream', '1.1', last));
  await talk(port, ask('/old', '1.0'));
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  await talk(port, ask('/upgrade', '1.1', upgrade), '\r\n\r\n');
  const given = net.connect(port, '127.0.0.1');
  given.write(ask('/never'));
  const stats = async () => (await request(api, { path: '/cluster/stats' })).json();
  const when = async (holds) => {
    for (;;) {
      const told = await stats();
      if (holds(told)) return told;
    }
  };
  await when(({ activeRequests, totalRequests }) => activeRequests === 1 && totalRequests === 5);
  given.destroy();
  // The stream is timed up to its end.
  const { totalRequests, totalErrors, responses } = await when(({ activeRequests, p999 }) => activeRequests === 0 && p999 >= 140);
  assert.equal(totalRequests, 5, 'an upgraded connection is none');
  assert.deepEqual([responses['1xx'], responses['2xx'], responses['5xx'], totalErrors], [0, 3, 1, 2]);
});

/** The server of the clients, by node:http or by `Bun.serve`, which restarts its workers twice. */
function restarting({ port, config, isFetch, answering }) {
  const { createServer } = require('drover');
  const { Bun } = globalThis;
  const own = {
    async fetch(request) {
      const { pathname } = new URL(request.url);
      const hash = new Bun.CryptoHasher('sha1').update(await request.arrayBuffer()).digest('hex');
      const said = JSON.stringify({ pid: process.pid, url: pathname, hash });
      const body = pathname.includes('big') ? said.padEnd(300_000) : said;
      if (pathname.includes('slow')) await Bun.sleep(3);
      if (!pathname.includes('chunks')) return new Response(body);
      const parts = async function* () {
        yield body.slice(0, 10);
        yield body.slice(10);
      };
      return new Response(parts());
    },
  };
  const listener = isFetch ? own : new Function('require', `return (${answering})()`)(require);
  const app = createServer({ app: isFetch ? listener : require('node:http').createServer(listener), cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(async () => {
    if (!app.isPrimary) return;
    console.log('SERVES');
    await app.restartCluster();
    await app.restartCluster();
    console.log('RESTARTED');
  });
}

for (const isFetch of [false, true]) {
  test(`under Bun rolling restarts lose no request of connections that are kept: ${isFetch ? 'Bun.serve' : 'node:http'}`, async (t) => {
    const bun = await findBun(t);
    if (bun === null) return;
    const port = await freePort();
    const config = { ...CONFIG, processManagement: { gracefulShutdownTimeout: '20s' } };
    const cluster = program(t, restarting, { given: { port, config, isFetch, answering: String(answering) }, node: bun });
    await cluster.until(/SERVES/);
    const end = new AbortController();
    // Bun.serve itself closes a connection that has the next request before an answer that is awaited.
    const clients = Array.from({ length: CLIENTS }, (_, seed) => ask(port, seed + 1, end.signal, { pipelines: !isFetch }));
    const all = Promise.all(clients);
    await Promise.race([cluster.until(/RESTARTED/), all]);
    end.abort();
    const told = await all;
    const workers = new Set(told.flatMap(({ workers }) => [...workers]));
    assert.ok(workers.size > 2, `answered by ${workers.size}`);
  });
}

test('under an older Bun one process serves, and says once why', async (t) => {
  const bun = await findBun(t, OLD);
  if (bun === null) return;
  const port = await freePort();
  const running = program(t, serving, { given: { port, config: { workers: 2 } }, node: bun });
  await running.until(/SERVES true false/);
  for (let visit = 0; visit < 3; visit += 1) assert.equal((await request(port)).json().pid, running.pid);
  const why = /drover: clustering is off, one process serves: drover needs Bun 1\.4\.4 or later, this is 1\.3\.14/g;
  assert.equal(running.output.match(why)?.length, 1, running.output);
  assert.ok(running.isAlive);
});
