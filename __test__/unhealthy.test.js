'use strict';

// A blocked event loop: others take its work after 50 ms; the operator reads of it when it lasts.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { run } = require('./helpers/run');

const script = path.join(__dirname, 'fixtures', 'blocking.js');

test('a worker whose loop stays blocked is said to be unhealthy, and to take connections again', async (t) => {
  const port = await freePort();
  const cluster = run(t, script, { env: { PORT: String(port) } });
  await cluster.until(/the cluster is ready/);

  const { worker } = (await request(port, { path: '/block?ms=5000' })).json();
  // Round-robin gives the blocked one its turn: what it does not take comes round to the other.
  const answers = [];
  for (let visit = 0; visit < 4; visit += 1) answers.push((await request(port)).json().worker);
  assert.deepEqual([...new Set(answers)], [worker === '0' ? '1' : '0']);

  await cluster.event('worker:unhealthy', { worker, replaced: false, reason: /its event loop is blocked/ });
  await cluster.until(/HEALTH degraded/);
  await cluster.event('worker:recovered', { worker, from: 'unresponsive' });
  await cluster.until(/HEALTH degraded[^]*HEALTH healthy/);
});

test('a short hiccup is told to nobody', async (t) => {
  const port = await freePort();
  const cluster = run(t, script, { env: { PORT: String(port) } });
  await cluster.until(/the cluster is ready/);

  const { worker } = (await request(port, { path: '/block?ms=300' })).json();
  const answers = [];
  for (let visit = 0; visit < 4; visit += 1) answers.push((await request(port)).json().worker);
  assert.ok(answers.includes(worker === '0' ? '1' : '0'));

  cluster.signal('SIGTERM');
  await cluster.exit;
  assert.deepEqual([...cluster.events('worker:unhealthy'), ...cluster.events('worker:recovered')], []);
});

/** One worker, replaced at SIGWINCH. /slow answers after 0.7 s; /block answers and blocks the loop for 3 s. */
function replaced({ port }) {
  const { createServer } = require('drover');
  const block = () => {
    for (const until = performance.now() + 3000; performance.now() < until; );
  };
  const app = createServer({
    app(request, response) {
      if (request.url === '/slow') setTimeout(() => response.end(), 700);
      else response.end(String(process.pid), () => request.url === '/block' && setImmediate(block));
    },
    cluster: { enabled: true, config: { workers: 1 } },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    app.cluster.on('worker:draining', () => console.log('DRAINING'));
    app.cluster.on('worker:exit', () => console.log('GONE'));
    process.on('SIGWINCH', () => app.restartCluster());
    console.log('the cluster is ready');
  });
}

test('that a worker is blocked is not forgotten because its predecessor exits', async (t) => {
  const port = await freePort();
  const cluster = program(t, replaced, { given: { port } });
  await cluster.until(/the cluster is ready/);
  const old = (await request(port)).body;
  const slow = request(port, { path: '/slow' });
  cluster.signal('SIGWINCH');
  await cluster.until(/DRAINING/);
  assert.notEqual((await request(port, { path: '/block' })).body, old);
  // Waits for the blocked worker, so that it is stuck; the old one exits before that is worth saying (1 s).
  const waiting = request(port);
  assert.equal((await slow).status, 200);
  await cluster.until(/GONE/);
  await cluster.event('worker:unhealthy', { worker: '0', reason: /its event loop is blocked/ });
  assert.equal((await waiting).status, 200);
});
