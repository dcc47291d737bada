'use strict';

// At the limit of open files, in a worker and in the primary, connections wait or get a 503. None is lost in
// silence, and when descriptors are free again everything is served.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort } = require('./helpers/http');
const { failureCluster, nobody, program, withDescriptors } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

/** A connection that asks once and stays open: `answer` resolves to the status, or to how it ended without one. */
function client(port) {
  const socket = net.connect({ port, host: '127.0.0.1' });
  let text = '';
  const answer = new Promise((resolve) => {
    socket.on('data', (piece) => {
      text += piece;
      const status = text.match(/^HTTP\/1\.1 (\d+)[^]*\r\n\r\n/);
      if (status) resolve(Number(status[1]));
    });
    socket.once('error', ({ code }) => resolve(code));
    socket.once('close', () => resolve('closed without an answer'));
  });
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const client = { answer, settled: false, close: () => socket.destroy() };
  answer.then(() => (client.settled = true));
  return client;
}

const clients = (port, count) => Array.from({ length: count }, () => client(port));

/** Closes what is answered until all are; what each got. */
async function drain(all) {
  const left = new Set(all);
  while (left.size > 0) {
    await Promise.race([...left].map(({ answer }) => answer));
    for (const one of left) {
      if (!one.settled) continue;
      one.close();
      left.delete(one);
    }
  }
  return Promise.all(all.map(({ answer }) => answer));
}

const tally = (answers) => Object.fromEntries([...new Set(answers)].map((one) => [one, answers.filter((a) => a === one).length]));

/** The numbers of a process's open descriptors. */
const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).map(Number);

/** Sets the soft limit of a process that runs, as its own user. */
function setLimit(pid, limit, place) {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${pid}`, `--nofile=${limit}:`], place);
  assert.equal(status, 0, String(stderr));
}

/** Descriptors with which one worker of two can be started; Bun has fewer open itself. */
const SCARCE = isBun ? 54 : 60;

test('with too few descriptors for all workers as many as fit serve, and the log says what would help', async (t) => {
  const port = await freePort();
  const config = { loadBalancing: { dispatch: 'push' }, processManagement: { restartDelay: 20, maxRestarts: 1 } };
  const cluster = failureCluster(t, { port, config, ...withDescriptors(SCARCE) });
  const { msg } = await cluster.event('worker:error', { errorCode: 'SYSTEM' });
  assert.match(msg, new RegExp(`^Worker \\d: \\w+: Too many open files .*: this process may have ${SCARCE} open files, .* raise the limit \\(ulimit -n\\)`));
  await cluster.until(/the cluster is ready/);
  const { ready, wanted, failing } = await cluster.event('cluster:degraded');
  assert.deepEqual([ready, wanted, failing.length], [1, 2, 1]);
  const all = clients(port, 5);
  assert.deepEqual(tally(await drain(all)), { 200: 5 });
  assert.equal(cluster.events('cluster:degraded').length, 1, cluster.output);
});

const users = [['an ordinary user', nobody], ...(process.getuid() === 0 ? [['root', {}]] : [])];

for (const [user, place] of users) {
  for (const dispatch of ['push', 'direct']) {
    // With less the primary could not start two workers.
    for (const limit of [96, 128]) {
      test(`${user}, ${dispatch}, ${limit} descriptors a process: more connections than fit wait for their turn`, async (t) => {
        const port = await freePort();
        const config = { loadBalancing: { dispatch, queueTimeout: '1m' } };
        const cluster = failureCluster(t, { port, config, ...withDescriptors(limit), ...place });
        await cluster.until(/the cluster is ready/);
        const workers = cluster.others();
        assert.equal(workers.length, 2, cluster.output);

        const all = clients(port, 2 * limit + 100);
        t.after(() => all.forEach((one) => one.close()));
        // Those that fit are answered and stay; the others wait until they go.
        await Promise.race(all.map(({ answer }) => answer));
        assert.deepEqual(tally(await drain(all)), { 200: all.length }, cluster.output);

        // Everything is free again.
        const more = clients(port, 20);
        assert.deepEqual(tally(await drain(more)), { 200: 20 });
        assert.deepEqual(cluster.others(), workers, 'nobody died of it');
        await cluster.event('descriptors:short');
      });
    }
  }

  test(`${user}: after queueTimeout connections that wait in the primary get a 503, and none is lost`, async (t) => {
    const port = await freePort();
    const config = { loadBalancing: { dispatch: 'push', queueTimeout: 300 } };
    const cluster = failureCluster(t, { port, config, ...withDescriptors(96), ...place });
    await cluster.until(/the cluster is ready/);
    const all = clients(port, 400);
    t.after(() => all.forEach((one) => one.close()));
    // What fits stays open until the first is refused: the rest gets no place for longer than it may wait.
    await Promise.any(all.map(async ({ answer }) => assert.equal(await answer, 503)));
    const answers = tally(await drain(all));
    assert.deepEqual(Object.keys(answers).sort(), ['200', '503'], JSON.stringify(answers));
    assert.equal(answers[200] + answers[503], all.length);
  });

  test(`${user}: a primary without descriptors accepts nothing and loses nothing`, async (t) => {
    const port = await freePort();
    const cluster = failureCluster(t, { port, config: { loadBalancing: { dispatch: 'push' } }, ...place });
    await cluster.until(/the cluster is ready/);
    // A limit below what is open already: not one more.
    setLimit(cluster.pid, 10, place);
    const all = clients(port, 100);
    t.after(() => all.forEach((one) => one.close()));
    await cluster.event('descriptors:short', { worker: null });
    assert.ok(all.every(({ settled }) => !settled));
    setLimit(cluster.pid, 512, place);
    assert.deepEqual(tally(await drain(all)), { 200: 100 }, cluster.output);
  });

  test(`${user}: a primary with hardly a descriptor passes on a few connections at a time`, async (t) => {
    const port = await freePort();
    const cluster = failureCluster(t, { port, config: { loadBalancing: { dispatch: 'push' } }, ...place });
    await cluster.until(/the cluster is ready/);
    setLimit(cluster.pid, Math.max(...descriptors(cluster.pid)) + 3, place);
    const all = clients(port, 200);
    t.after(() => all.forEach((one) => one.close()));
    assert.deepEqual(tally(await Promise.all(all.map(({ answer }) => answer))), { 200: 200 }, cluster.output);
  });
}

/** A worker that has 600 different things to say to the operator, each of them twice. */
function talkative({ native }) {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
  app.start(0, '127.0.0.1').then(() => {
    if (app.isPrimary) return;
    const { addon } = require(native);
    for (let at = 0; at < 1200; at += 1) addon.workerHint(`hint ${at % 600} of many`, true);
    addon.workerHint('hint 0 of many', true);
    console.log('ALL SAID');
  });
}

test('each hint is logged once, and their number is limited', async (t) => {
  const native = path.join(__dirname, '..', 'lib', 'native.js');
  const cluster = program(t, talkative, { given: { native } });
  await cluster.until(/so many different hints like this one that no further ones are written/);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  const hints = cluster.stdout.match(/hint \d+ of many/g);
  assert.equal(new Set(hints).size, hints.length, 'no hint comes twice');
  assert.equal(hints.length, 500);
  assert.equal(cluster.stdout.match(/so many different hints/g).length, 1);
});
