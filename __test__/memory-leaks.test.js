'use strict';

// What the primary says of the memory of its workers over time: leaks with the code that causes them, thresholds, and
// collections.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { folder, write } = require('./helpers/program');
const { run } = require('./helpers/run');

const MB = 1 << 20;

/** Worker 0 keeps 20 MB more each second, the other one nothing. */
function leaking({ config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({ app: http.createServer((_, response) => response.end()), cluster: { enabled: true, config } });
  const kept = [];
  function remember() {
    kept.push(new Array(MB / 8).fill(kept.length + 0.5));
  }
  const MB = 1 << 20;
  app.start(0, '127.0.0.1').then(() => {
    if (app.isWorker && app.workerId === '0') setInterval(remember, 50);
    if (app.isPrimary) console.log('the cluster is ready');
  });
}

test('a worker that leaks 20 MB a second is reported within ten samples, with file and line', async (t) => {
  const memoryManagement = { memoryCheckInterval: 1000, evidence: true };
  const config = { workers: 2, monitoring: { port: 0 }, resources: { memoryManagement } };
  const file = fs.realpathSync(write(t, leaking, { given: { config } }));
  const cwd = fs.realpathSync(folder(t));
  const cluster = run(t, file, { cwd });
  await cluster.until(/the cluster is ready/);
  const alert = await cluster.event('alert', { cause: 'memory_leak' });
  const { worker, measure, bytesPerSecond, confidence, samples } = alert;
  assert.equal(worker, '0');
  assert.ok(samples <= 10 && confidence >= 0.8 && ['heap', 'rss'].includes(measure), JSON.stringify(alert));
  assert.ok(bytesPerSecond > 12 * MB && bytesPerSecond < 40 * MB, `${bytesPerSecond / MB} MB per second`);
  const { time } = await cluster.event('worker:ready', { worker: '0' });
  assert.ok(alert.time - time < 11_500, `eleven seconds are at most ten samples: ${alert.time - time} ms`);

  const evidence = await cluster.event('memory:evidence', { worker: '0' });
  const [site] = evidence.sites;
  const line = fs.readFileSync(file, 'utf8').split('\n').findIndex((text) => text.includes('function remember')) + 1;
  assert.deepEqual([site.function, site.file, site.line], ['remember', file, line], JSON.stringify(evidence.sites));
  assert.ok(evidence.msg.includes(`by remember at ${file}:${line}:`), evidence.msg);
  assert.equal(path.dirname(evidence.file), path.join(cwd, 'logs'));
  assert.match(path.basename(evidence.file), /^drover-heap-0-\d+\.heapprofile$/);
  const stat = fs.statSync(evidence.file);
  assert.deepEqual([stat.size, stat.mode & 0o777], [evidence.bytes, 0o600]);
  const { head, samples: taken } = JSON.parse(fs.readFileSync(evidence.file, 'utf8'));
  assert.ok(head.children.length > 0 && taken.length > 0, 'DevTools reads it');
  assert.equal(cluster.events('alert', { cause: 'memory_leak' }).length, 1, 'once, and not of the other worker');
  assert.deepEqual(cluster.deaths, []);
});

/** A worker with `megabytes` on its heap, which keeps 20 MB of Buffers more each second. */
function heavy({ config, megabytes }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({ app: http.createServer((_, response) => response.end()), cluster: { enabled: true, config } });
  const kept = [];
  if (app.isWorker) while (kept.length < megabytes) kept.push(new Array(131072).fill(kept.length + 0.5));
  app.start(0, '127.0.0.1').then(() => {
    if (app.isWorker) setInterval(() => kept.push(Buffer.alloc(1 << 20, 1)), 50);
    else console.log('the cluster is ready');
  });
}

test('the allocations of a worker above 80 % of its heap are not sampled, which is said', async (t) => {
  const memoryManagement = { memoryCheckInterval: 1000, evidence: true };
  const execArgv = ['--max-old-space-size=400', '--max-semi-space-size=1'];
  const config = { workers: 1, execArgv, monitoring: { port: 0 }, resources: { maxMemoryPerWorker: '2GB', memoryManagement } };
  const cwd = fs.realpathSync(folder(t));
  const cluster = run(t, write(t, heavy, { given: { config, megabytes: 340 } }), { cwd });
  const failed = await cluster.event('diagnosis:failed', { worker: '0' });
  assert.match(failed.msg, /^There is no evidence of what worker 0 allocates: its heap is (8[0-9]|9[0-9]) % of its limit, and sampling takes memory itself$/);
  assert.equal(failed.diagnosis, 'heap-sampling');
  const alert = await cluster.event('alert', { cause: 'memory_leak', worker: '0' });
  assert.ok(alert.confidence >= 0.8, 'the leak itself is reported');
  assert.deepEqual([cluster.events('memory:evidence'), cluster.events('diagnosis:failed').length], [[], 1]);
  assert.equal(fs.existsSync(path.join(cwd, 'logs')), false, 'no profile is written');
  assert.deepEqual(cluster.deaths, []);
});

/** A worker with 64 MB of garbage, which V8 has no reason to collect. */
function wasting({ config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({ app: http.createServer((_, response) => response.end()), cluster: { enabled: true, config } });
  let kept = app.isWorker ? Array.from({ length: 64 }, () => new Array(131072).fill(0.5)) : null;
  app.start(0, '127.0.0.1').then(() => {
    if (kept?.length !== 64) console.log('the cluster is ready');
    kept = null;
  });
}

test('near its limit a worker is told to collect, which is measured before and after', async (t) => {
  const memoryManagement = { memoryCheckInterval: 1000, memoryWarningThreshold: 1, memoryCriticalThreshold: 99, garbageCollectionHint: true };
  // V8 collects nothing by itself.
  const execArgv = ['--initial-old-space-size=1024', '--no-memory-reducer'];
  const config = { workers: 1, execArgv, monitoring: { port: 0 }, resources: { maxMemoryPerWorker: '2GB', memoryManagement } };
  const cluster = run(t, write(t, wasting, { given: { config } }));
  const pressure = await cluster.event('memory:pressure', { worker: '0', level: 40 });
  assert.ok(pressure.usage > 64 * MB && pressure.limit === 2048 * MB, JSON.stringify(pressure));
  const { before, after, durationMs } = await cluster.event('memory:collected', { worker: '0' });
  assert.ok(before - after > 48 * MB && after > MB && durationMs > 0, `${before} before, ${after} after`);
  assert.equal(cluster.events('memory:pressure').length, 1, 'once');
  assert.deepEqual(cluster.deaths, []);
});
