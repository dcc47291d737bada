'use strict';

// Every example runs as a user would run it: it says where it serves, a worker of its own answers, and it stops
// in order.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { run } = require('./helpers/run');
const { printed } = require('./helpers/runtime');

const folder = path.join(__dirname, '..', 'examples');

/** Who answers, as a text that holds the process's id. */
async function overHttp({ port }) {
  const answer = await request(port);
  assert.equal(answer.status, 200, answer.body);
  return answer.body;
}

async function overSocketIo({ port }) {
  const { io } = require('socket.io-client');
  const client = io(`http://127.0.0.1:${port}`, { reconnection: false, forceNew: true });
  try {
    return await new Promise((resolve, reject) => {
      client.once('hello', (hello) => resolve(JSON.stringify(hello)));
      client.once('connect_error', reject);
    });
  } finally {
    client.disconnect();
  }
}

const onBothPorts = async ({ port, adminPort }) => (await overHttp({ port })) && overHttp({ port: adminPort });

const asks = { socketio: overSocketIo, 'two-ports': onBothPorts };

async function start(t, name, env = {}) {
  const place = { port: await freePort(), adminPort: await freePort() };
  const example = run(t, path.join(folder, name, 'server.js'), {
    env: { PORT: String(place.port), ADMIN_PORT: String(place.adminPort), CLUSTER_WORKERS: '2', ...env },
  });
  await example.until(new RegExp(`on http://localhost:${place.port}`));
  return { example, ...place };
}

async function stopsInOrder(example) {
  example.signal('SIGTERM');
  assert.deepEqual(await example.exit, { code: 0, signal: null }, example.output);
  await example.gone();
}

/** Examples whose packages are too large for these tests, with their own. */
const elsewhere = ['next'];

for (const name of fs.readdirSync(folder).filter((one) => !elsewhere.includes(one))) {
  test(`the example ${name} serves from its workers and stops in order`, async (t) => {
    const { example, ...place } = await start(t, name);
    const workers = example.others();
    assert.equal(workers.length, 2, `its workers: ${workers}`);

    const answer = await (asks[name] ?? overHttp)(place);
    assert.ok(
      workers.some((pid) => new RegExp(`\\b${pid}\\b`).test(answer)),
      `none of ${workers} says: ${answer}`,
    );
    await stopsInOrder(example);
  });
}

test('the main example says what runs where and what to try, in colour only for a terminal', async (t) => {
  const { example, port } = await start(t, 'express');
  for (const pid of [example.pid, ...example.others()]) await example.until(new RegExp(`pid ${pid}\\b`));
  await example.until(new RegExp(`curl http://localhost:${port}/api/status`));
  const [, victim] = await example.until(/kill -9 (\d+)/);
  assert.ok(example.others().includes(Number(victim)), example.output);
  assert.ok(!example.output.includes('\x1b'), example.output);
});

test('the main example finishes a request that is in flight when it is stopped', async (t) => {
  const { example, port } = await start(t, 'express');
  const workers = example.others();
  const slow = request(port, { path: '/slow' });
  // The slow request's worker has it once another connection, made later, has been answered by each worker.
  for (let visit = 0; visit < 4; visit += 1) await request(port);
  example.signal('SIGTERM');
  const answer = await slow;
  assert.equal(answer.status, 200);
  assert.ok(workers.includes(answer.json().worker), answer.body);
  assert.deepEqual(await example.exit, { code: 0, signal: null }, example.output);
});

test('the main example says in words that its port is taken', async (t) => {
  const taken = net.createServer().listen(0);
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address();
  const example = run(t, path.join(folder, 'express', 'server.js'), { env: { PORT: String(port) } });
  assert.equal((await example.exit).code, 1);
  await example.until(new RegExp(`Port ${port} is taken`));
  assert.doesNotMatch(example.output, /\n {4}at /);
  await example.gone();
});

test('the example graceful-shutdown replaces the worker whose handler ends it', async (t) => {
  const { example, port } = await start(t, 'graceful-shutdown');
  await request(port, { path: '/crash' });
  await example.until(new RegExp(`Uncaught exception: ${printed('Error', 'an uncaught bug')}`));
  await example.event('worker:restart');
  await example.eventMany(3, 'worker:ready');
  assert.equal((await request(port)).status, 200);
  await stopsInOrder(example);
});
