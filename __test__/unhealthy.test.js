'use strict';

// A blocked event loop: others take its work after 50 ms; the operator reads of it when it lasts.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { run } = require('./helpers/run');

const script = path.join(__dirname, 'fixtures', 'blocking.js');

test('a worker whose loop stays blocked is said to be unhealthy, and to take connections again', async (t) => {
  const port = await freePort();
  const cluster = run(t, script, { env: { PORT: String(port) } });
  await cluster.until(/the cluster is ready/);

  const { worker } = (await request(port, { path: '/block?ms=2500' })).json();
  // Round-robin gives the blocked one its turn: what it does not take comes round to the other.
  const answers = [];
  for (let visit = 0; visit < 4; visit += 1) answers.push((await request(port)).json().worker);
  assert.deepEqual([...new Set(answers)], [worker === '0' ? '1' : '0']);

  await cluster.until(new RegExp(`Worker ${worker} is unhealthy: its event loop is blocked`));
  await cluster.until(new RegExp(`Worker ${worker} takes connections again`));
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
  assert.doesNotMatch(cluster.output, /unhealthy|again/);
});
