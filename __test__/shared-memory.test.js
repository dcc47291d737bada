'use strict';

// Who can write which numbers: the primary its own, each worker its own, and nobody those of another.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

const WORKERS = 3;
/** Bytes of what one worker writes, and how many generations of a slot have one. */
const [AREA, GENERATIONS] = [128 * 1024, 4];

async function serving(t) {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port, workers }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers } } });
      app.get('/', (_, response) => response.end(String(process.pid)));
      app.get('/metrics', async (_, response) => response.json({ pid: process.pid, ...(await app.getClusterMetrics()) }));
      app.start(port, '127.0.0.1').then(() => app.isWorker || console.log('the cluster is ready'));
    },
    { given: { port, workers: WORKERS } },
  );
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

/** A process's mappings of one of drover's memories: `{ size, offset, mode }`. */
function mappings(pid, name) {
  const lines = fs.readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return lines.filter((line) => line.includes(`/memfd:${name} `)).map((line) => {
    const [, start, end, mode, offset] = /^(\w+)-(\w+) (\S+) (\w+)/.exec(line);
    return { size: Number(`0x${end}`) - Number(`0x${start}`), offset: Number(`0x${offset}`), mode };
  });
}

/** Where a process's descriptors of one of drover's memories stand. */
function descriptors(pid, name) {
  const folder = `/proc/${pid}/fd`;
  const paths = fs.readdirSync(folder).map((fd) => path.join(folder, fd));
  return paths.filter((file) => {
    try {
      return fs.readlinkSync(file).startsWith(`/memfd:${name} `);
    } catch (error) {
      // The process has closed it since the folder was read.
      if (error.code !== 'ENOENT') throw error;
      return false;
    }
  });
}

test('a worker maps memory of the primary and other workers read-only, and has no descriptor of it', async (t) => {
  const { cluster } = await serving(t);
  const slots = cluster.others().map((pid) => {
    const cluster = mappings(pid, 'drover-cluster');
    assert.deepEqual([...new Set(cluster.map(({ mode }) => mode))], ['r--s']);
    const workers = mappings(pid, 'drover-workers');
    const own = workers.filter(({ mode }) => mode !== 'r--s');
    assert.deepEqual(own.map(({ size, mode }) => [size, mode]), [[AREA, 'rw-s']]);
    assert.ok(workers.some(({ mode, size }) => mode === 'r--s' && size > AREA), 'all others');
    for (const name of ['drover-cluster', 'drover-workers']) assert.deepEqual(descriptors(pid, name), []);
    const area = own[0].offset / AREA;
    assert.equal(area % GENERATIONS, 1, 'the first generation');
    return Math.floor(area / GENERATIONS);
  });
  assert.deepEqual(slots.sort(), [0, 1, 2], 'each its own');
});

test('only the primary can write to its memory, even with its descriptor', async (t) => {
  const { cluster, port } = await serving(t);
  const [file] = descriptors(cluster.pid, 'drover-cluster');
  const opened = fs.openSync(file, 'r+');
  t.after(() => fs.closeSync(opened));
  assert.throws(() => fs.writeSync(opened, Buffer.alloc(8), 0, 8, 0), { code: 'EPERM' });
  assert.throws(() => fs.ftruncateSync(opened, 0), { code: 'EPERM' });
  assert.equal((await request(port, { path: '/metrics' })).json().totalWorkers, WORKERS);
});

test('every worker reads the counts of all workers, including ended and later ones', async (t) => {
  const { cluster, port } = await serving(t);
  let sent = 0;
  const [killed] = cluster.others();
  for (let served = 0; served < 3; sent += 1) {
    if (Number((await request(port)).body) === killed) served += 1;
  }
  process.kill(killed, 'SIGKILL');
  await cluster.eventMany(WORKERS + 1, 'worker:ready');
  const seen = new Set();
  while (seen.size < WORKERS) {
    const { pid, totalRequests, workers } = (await request(port, { path: '/metrics' })).json();
    // The request that asks is among them.
    sent += 1;
    assert.equal(totalRequests, sent);
    assert.equal(workers.length, WORKERS);
    seen.add(pid);
  }
  assert.ok(!seen.has(killed));
});
