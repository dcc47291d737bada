'use strict';

// drover under Bun: one process serves, and says why there are no workers.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { findBun } = require('./helpers/buns');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Bun's, and one whose libuv aborts. */
const [NOW, OLD] = ['1.4.5', '1.3.14'];

function serving({ port, config }) {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config } });
  app.get('/', (_, response) => response.send('served'));
  app.get('/metrics', async (_, response) => response.json(await app.getClusterMetrics()));
  app.start(port, '127.0.0.1').then(() => console.log(`SERVES ${app.isPrimary} ${app.isWorker}`));
}

for (const [version, why] of [
  [NOW, /^This version of drover starts no workers under Bun: it serves in this process$|drover: This version of drover starts no workers under Bun/m],
  [OLD, /drover: clustering is off, one process serves: drover needs Bun 1\.4\.4 or later, this is 1\.3\.14/],
]) {
  test(`under Bun ${version} one process serves, and says once why`, async (t) => {
    const bun = await findBun(t, version);
    if (bun === null) return;
    const port = await freePort();
    const running = program(t, serving, { given: { port, config: { workers: 2 } }, node: bun });
    await running.until(/SERVES/);
    for (let visit = 0; visit < 3; visit += 1) assert.equal((await request(port)).body, 'served');
    assert.equal(running.output.match(new RegExp(why, 'gm'))?.length, 1, running.output);
    assert.ok(running.isAlive);
  });
}

test('under Bun the single process has the metrics of a worker', async (t) => {
  const bun = await findBun(t, NOW);
  if (bun === null) return;
  const port = await freePort();
  const running = program(t, serving, { given: { port, config: { workers: 2 } }, node: bun });
  await running.until(/SERVES/);
  for (let visit = 0; visit < 5; visit += 1) assert.equal((await request(port)).status, 200);
  const metrics = JSON.parse((await request(port, { path: '/metrics' })).body);
  assert.ok(metrics.totalRequests >= 5, JSON.stringify(metrics));
});

test('under Bun a ClusterManager says that it cannot start', async (t) => {
  const bun = await findBun(t, NOW);
  if (bun === null) return;
  const main = () => {
    const { ClusterManager } = require('drover');
    new ClusterManager({ exec: __filename, workers: 2 }).start().then(
      () => console.log('STARTED'),
      ({ code, message }) => console.log('REJECTED', code, message),
    );
  };
  const running = program(t, main, { node: bun });
  await running.until(/REJECTED NOT_SUPPORTED A cluster in this runtime \(bun\) is not supported/);
});
