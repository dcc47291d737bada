'use strict';

// The limit of a worker's CPU usage: whoever is above it for a minute gets half as many new connections, and only a
// worker that uses far more than the others is replaced. (It takes the minute.)

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { controlGroup } = require('./helpers/control-groups');
const { freePort, keepAlive, request } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Workers that use so many per cent of a core, by `shares`; the one that is asked for /loop works without a pause. */
function working({ port, config, shares }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const used = () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  };
  const loop = () => {
    for (const until = performance.now() + 20; performance.now() < until; );
    setImmediate(loop);
  };
  const id = process.env.WORKER_ID;
  const server = http.createServer(({ url }, response) => {
    if (url === '/loop') setImmediate(loop);
    response.end(JSON.stringify({ id, pid: process.pid }));
  });
  const app = createServer({ app: server, cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(() => {
    if (app.isPrimary) return console.log('the cluster is ready');
    const [began, before] = [performance.now(), used()];
    setInterval(() => {
      const now = performance.now();
      // With what it uses to answer and what it is late with, but a blocked loop would get no connections.
      const due = (now - began) * 10 * shares[id];
      while (used() - before < due && performance.now() < now + 15);
    }, 20);
  });
}

/** How many of so many new connections each worker got, in shares of an equal distribution. */
async function distribution(port, workers) {
  const counts = new Array(workers).fill(0);
  const all = 60 * workers;
  for (let sent = 0; sent < all; sent += 1) counts[(await request(port)).json().id] += 1;
  return counts.map((count) => (count * workers) / all);
}

/** Asks workers on kept connections until the returned function is called, which resolves to the number of answers. */
function load(t, port, clients) {
  const over = new AbortController();
  t.after(() => over.abort());
  const ask = async () => {
    const client = keepAlive(port);
    let answers = 0;
    for (; !over.signal.aborted; answers += 1) {
      const { status } = await client.request();
      assert.equal(status, 200);
      await wait(20);
    }
    client.close();
    return answers;
  };
  const all = Promise.all(Array.from({ length: clients }, ask));
  all.catch(() => {});
  return async () => {
    over.abort();
    return (await all).reduce((sum, answers) => sum + answers, 0);
  };
}

/** The worker works without a pause from now on; resolves to its pid. */
async function startLoop(port, worker) {
  for (;;) {
    // The second request goes where the first one went.
    const client = keepAlive(port);
    try {
      const { id, pid } = (await client.request()).json();
      if (id !== String(worker)) continue;
      await client.request({ path: '/loop' });
      return pid;
    } finally {
      client.close();
    }
  }
}

/** Options of `run`: other programs do not take the processor time that the test is about, where that can be had. */
function preferred(t) {
  try {
    return controlGroup(t, { cpu: Infinity }).options;
  } catch {
    return {};
  }
}

test('above processManagement.cpuThreshold in three samples a worker is replaced, without a failed request', async (t) => {
  const port = await freePort();
  const config = { workers: 2, processManagement: { cpuThreshold: 50 } };
  const running = program(t, working, { given: { port, config, shares: [0, 0] }, ...preferred(t) });
  await running.until(/the cluster is ready/);
  const served = load(t, port, 3);
  const pid = await startLoop(port, 0);
  const early = await running.event('alert', { cause: 'limit', limit: 'cpu', worker: '0' });
  assert.match(early.msg, /processManagement\.cpuThreshold/);
  const { value, allowed } = await running.event('worker:limit', { worker: '0', limit: 'cpu', action: 'replace' });
  assert.ok(value > 50 && allowed === 50, `${value} of ${allowed}`);
  await running.event('worker:exit', { worker: '0', workerPid: pid, reason: 'stopped' });
  assert.ok((await served()) > 100);
  assert.equal(running.events('worker:exit').length, 1, 'the other one is below the threshold');
});

test('with killOnCpuExceed a worker above its CPU limit for a minute is killed, and nobody else', async (t) => {
  const port = await freePort();
  const resources = { maxCpuPerWorker: 50, enforcement: { killOnCpuExceed: true } };
  const running = program(t, working, { given: { port, config: { workers: 2, resources }, shares: [0, 0] }, ...preferred(t) });
  await running.until(/the cluster is ready/);
  const pid = await startLoop(port, 0);
  const began = Date.now();
  const limit = await running.event('worker:limit', { limit: 'cpu', action: 'kill' }, { patience: 90_000 });
  assert.ok(limit.value > 50 && limit.allowed === 50, limit.msg);
  assert.ok(limit.time - began >= 59_000, `after ${limit.time - began} ms`);
  assert.match(limit.msg, /^Worker 0 is killed: it has used more than 50 % of a core for 6\d s/);
  await running.event('worker:exit', { worker: '0', workerPid: pid, reason: 'cpu_limit', signal: 'SIGKILL' });
  assert.equal((await request(port)).status, 200);
  assert.equal(running.events('worker:exit').length, 1);
});

const RUNAWAY = 0;
const BUSY = 1;

test('above its CPU limit a worker is relieved, and only a runaway is replaced, without a failed request', async (t) => {
  const port = await freePort();
  // What is above the limit for a minute, and the others at more than half of it.
  const shares = [0, 16, 11, 11, 11];
  const config = { workers: shares.length, resources: { maxCpuPerWorker: 12 } };
  const running = program(t, working, { given: { port, config, shares }, ...preferred(t) });
  await running.until(/the cluster is ready/);
  const before = await distribution(port, shares.length);
  assert.ok(before.every((share) => share > 0.8 && share < 1.2), `at first all get the same: ${before}`);
  const served = load(t, port, 5);
  const pid = await startLoop(port, RUNAWAY);

  const patience = 150_000;
  const cpu = { cause: 'limit', limit: 'cpu' };
  const [runaway, busy] = await Promise.all(
    [RUNAWAY, BUSY].map((worker) => running.event('alert', { ...cpu, worker: String(worker) }, { patience })),
  );
  assert.match(runaway.msg, /^Worker 0 gets fewer new connections: it has used more than 12 % of a core for \d+ s, .* it is replaced$/);
  assert.match(busy.msg, /^Worker 1 gets fewer new connections: .*The others are as busy: a new worker would be too$/);
  const replaced = await running.event('worker:limit', { limit: 'cpu', action: 'replace' }, { patience });
  assert.equal(replaced.worker, String(RUNAWAY), replaced.msg);
  assert.ok(replaced.time - runaway.time >= 0 && replaced.value > 24, replaced.msg);
  await running.event('worker:exit', { worker: String(RUNAWAY), workerPid: pid, reason: 'stopped' });

  const after = await distribution(port, shares.length);
  const others = after.filter((_, worker) => worker > BUSY);
  const mean = others.reduce((sum, share) => sum + share) / others.length;
  assert.ok(after[BUSY] > 0.35 * mean && after[BUSY] < 0.65 * mean, `it gets half as many as others: ${after}\n${running.output}`);
  assert.ok((await served()) > 1000);
  assert.equal(running.events('worker:limit', { action: 'replace' }).length, 1, 'nobody else is replaced');
  assert.equal(running.events('worker:exit').length, 1);
  assert.deepEqual(running.events('alert', cpu).map(({ worker }) => worker).sort(), ['0', '1'], 'each once');
});
