'use strict';

// A program that clusters itself with node:cluster inside a worker is served as it is: its processes leave in order with
// their worker, and none of them is left behind.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { built } = require('./helpers/built');
const { freePort, keepAlive, request, tcp } = require('./helpers/http');
const { write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');

const managed = require.resolve('./fixtures/managed.js');

/** Two processes that serve, replaced when they end, as node:cluster is taught. */
function clustering() {
  const cluster = require('node:cluster');
  if (cluster.isPrimary) {
    cluster.fork();
    cluster.fork();
    cluster.on('exit', ({ process: { pid } }) => {
      console.log(`ENDED ${pid}`);
      cluster.fork().on('online', () => console.log('FORKED AGAIN'));
    });
    return;
  }
  const http = require('node:http');
  const server = http.createServer((request, response) => {
    if (request.url === '/argv') return response.end(JSON.stringify(process.execArgv));
    setTimeout(() => response.end(String(process.pid)), request.url === '/slow' ? 300 : 5);
  });
  server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`SERVES ${process.pid}`));
}

/** One process that no request ends: a connection is open, and signals are nothing to it. */
function stubborn() {
  const cluster = require('node:cluster');
  if (cluster.isPrimary) return cluster.fork();
  process.on('SIGTERM', () => {});
  setInterval(() => {}, 60_000);
  const echo = require('node:net').createServer((socket) => socket.pipe(socket));
  echo.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`SERVES ${process.pid}`));
}

/** HTTP servers in processes of Bun's node:cluster listen themselves: the worker has none. */
const LIMITS = isBun ? { processManagement: { startupTimeout: 5000, maxRestarts: 0 } } : {};

function started(t, file, port, config) {
  return run(t, managed, {
    args: [file],
    env: { PORT: String(port), HOST: '127.0.0.1', NITRO_CLUSTER_WORKERS: '2', CLUSTER_CONFIG: JSON.stringify({ workers: 2, ...LIMITS, ...config }) },
  });
}

/** Clients that ask until they are told to end: some on connections that they keep, some on new ones. */
function load(t, port) {
  const failures = [];
  let isOver = false;
  let answered = 0;
  const fail = (error) => failures.push(error.code ?? error.message);
  const ask = async (client, options) => {
    while (!isOver) await client(options).then(() => (answered += 1), fail);
  };
  const kept = [1, 2, 3].map(() => keepAlive(port));
  t.after(() => kept.forEach((client) => client.close()));
  const anew = (options) => request(port, options);
  const clients = [...kept.map((client) => ask(client.request)), ask(anew, {}), ask(anew, { path: '/slow' })];
  return async () => {
    isOver = true;
    await Promise.all(clients);
    return { answered, failures };
  };
}

test('a roll of a program that uses node:cluster loses no request and leaves no process', async (t) => {
  const port = await freePort();
  const cluster = started(t, write(t, clustering), port);
  await cluster.until(/the cluster is ready/);
  const first = (await cluster.untilMany(4, /SERVES (\d+)/)).map(([, pid]) => Number(pid));
  const end = load(t, port);
  cluster.signal('SIGUSR2');
  await cluster.event('command:done', { command: 'restartCluster' });
  const { answered, failures } = await end();
  assert.deepEqual(failures, [], cluster.output);
  assert.ok(answered > 0);
  const left = cluster.others();
  assert.deepEqual(first.filter((pid) => left.includes(pid)), [], cluster.output);
  assert.ok(!first.includes(Number((await request(port)).body)));
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
  assert.doesNotMatch(cluster.output, /FORKED AGAIN/);
  assert.deepEqual([...cluster.deaths, ...cluster.events('worker:lingered')], []);
});

test('a program that uses node:cluster gets one warning, and its processes get unchanged arguments', async (t) => {
  const port = await freePort();
  const cluster = started(t, write(t, clustering), port);
  await cluster.until(/the cluster is ready/);
  await cluster.untilMany(4, /SERVES/);
  assert.equal((await request(port, { path: '/argv' })).body, '[]');
  await cluster.until(/clusters itself with node:cluster/);
  const hints = cluster.raw.split('\n').filter((line) => line.includes('clusters itself with node:cluster'));
  assert.equal(hints.length, 1, cluster.output);
  assert.equal(JSON.parse(hints[0]).level, 30);
  assert.equal(cluster.stderr, '');
});

test('a process of the program’s own that exits is replaced by the program as usual', async (t) => {
  const port = await freePort();
  const cluster = started(t, write(t, clustering), port, { workers: 1 });
  await cluster.until(/the cluster is ready/);
  await cluster.untilMany(2, /SERVES/);
  process.kill(Number((await request(port)).body), 'SIGKILL');
  await cluster.until(/FORKED AGAIN/);
  await cluster.untilMany(3, /SERVES/);
  assert.match((await request(port)).body, /^\d+$/);
});

test('a process of the program’s own that does not exit is killed with its worker', async (t) => {
  const port = await freePort();
  const processManagement = { gracefulShutdownTimeout: 2000, killTimeout: 500, lingerTimeout: 100 };
  const cluster = started(t, write(t, stubborn), port, { workers: 1, processManagement });
  await cluster.until(/the cluster is ready/);
  await cluster.until(/SERVES/);
  const client = await tcp(port);
  t.after(() => client.close());
  client.socket.on('error', () => {});
  client.write('hello\n');
  assert.equal(await client.line(), 'hello');
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone(5000);
});

test("Nitro's preset node-cluster is rolled and stopped without a loss", async (t) => {
  const nitro = {
    versions: { nitropack: '2.13.6' },
    build: ['node_modules/nitropack/dist/cli/index.mjs', 'build'],
    main: '.output/server/index.mjs',
    files: {
      'nitro.config.js': "export default { preset: 'node-cluster', srcDir: 'server', compatibilityDate: '2026-01-01' };",
      'server/routes/index.js': "export default defineEventHandler(() => 'served');",
      'server/routes/slow.js': "export default defineEventHandler(() => new Promise((resolve) => setTimeout(resolve, 300, 'served')));",
    },
  };
  const file = await built(t, nitro, process.execPath);
  if (file === null) return;
  const port = await freePort();
  const cluster = started(t, path.resolve(file), port);
  await cluster.until(/the cluster is ready/);
  assert.equal((await request(port)).body, 'served');
  const end = load(t, port);
  cluster.signal('SIGUSR2');
  await cluster.event('command:done', { command: 'restartCluster' });
  const { failures } = await end();
  assert.deepEqual(failures, [], cluster.output);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
  assert.doesNotMatch(cluster.output, /Timeout reached/);
  assert.deepEqual(cluster.events('worker:exit').filter(({ reason }) => reason !== 'stopped'), []);
});
