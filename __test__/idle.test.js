'use strict';

// A worker without work sleeps: whatever is measured, told or asked of the cluster meanwhile, between its health checks
// nothing of drover's wakes it.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');
const { skip } = require('./helpers/skip');
const { findStrace, strace } = require('./helpers/strace');

/** How long it is watched, milliseconds. */
const WATCHED = 10_000;

/** V8 and Node's HTTP server have timers of their own; these are switched off. */
const QUIET_V8 = ['--no-memory-reducer'];

function idle({ port }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const listener = (_, response) => {
    // Node keeps the text of a Date until a timer ends it.
    response.sendDate = false;
    response.end(String(process.pid));
  };
  const app = createServer({
    app: http.createServer({ connectionsCheckingInterval: 2 ** 31 - 1 }, listener),
    cluster: {
      enabled: true,
      config: { workers: 2, healthCheck: { interval: '10m' }, monitoring: { port: 0, metricsInterval: '1s' } },
    },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    app.cluster.on('metrics:updated', () => console.log('METRICS'));
    console.log('the cluster is ready');
  });
}

/** A request that leaves no timer of a kept connection behind. */
const once = (port) => request(port, { headers: { connection: 'close' } });

test('between health checks an idle worker makes no system call, whoever looks at the cluster', async (t) => {
  const tracer = await findStrace(t);
  if (tracer === null) return;
  const port = await freePort();
  const cluster = program(t, idle, { given: { port }, execArgv: QUIET_V8 });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  const pids = new Set();
  for (let visit = 0; visit < 20; visit += 1) pids.add((await once(port)).body);
  const [pid] = pids;

  const looks = async () => {
    const before = cluster.stdout.split('METRICS').length;
    for (let second = 0; second < WATCHED / 1000; second += 1) {
      await wait(1000);
      for (const path of ['/metrics', '/cluster/stats', '/cluster/health', '/cluster/workers']) {
        assert.equal((await request(api, { path })).status, 200);
      }
    }
    assert.ok(cluster.stdout.split('METRICS').length - before >= 5, 'the metrics were told meanwhile');
  };
  let calls;
  try {
    calls = await strace(t, tracer, pid, looks);
  } catch (error) {
    // Some kernels forbid it to everybody.
    if (!/Operation not permitted/.test(error.message)) throw error;
    skip(t, `this kernel lets nobody trace: ${error.message.trim()}`, error, { forbidden: true });
    return;
  }
  // Bun collects garbage once a second at first, and its allocator has a timer of its own: they send and receive nothing.
  assert.deepEqual(isBun ? calls.filter((call) => /accept|recv|send/.test(call)) : calls, []);

  // And one that is asked for something makes some.
  const worked = await strace(t, tracer, pid, async () => {
    while ((await once(port)).body !== pid);
  });
  assert.ok(worked.some((call) => /accept|recv|read/.test(call)), worked.join('\n'));
});
