'use strict';

// Clusters whose primary or workers run under Bun in other ways than `bun server.js`: mixed with Node.js, compiled, in
// `bun test`, and with a Bun whose socket calls cannot be replaced. Also the placement of many connections.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { findBun } = require('./helpers/buns');
const { freePort, request } = require('./helpers/http');
const { answering, ask } = require('./helpers/persistent-clients');
const { folder, program, write } = require('./helpers/program');
const { run } = require('./helpers/run');

// On a busy machine a worker's loop may be late: then the others would take its connections, and these tests ask which
// workers answer.
const CONFIG = { workers: 2, loadBalancing: { healthAware: false }, monitoring: { port: false } };

/** A plain server, which says by what it runs. */
function plain({ port }) {
  const runtime = process.versions.bun === undefined ? 'node' : 'bun';
  const listener = (asked, response) => response.end(JSON.stringify({ pid: process.pid, runtime, address: asked.socket.remoteAddress }));
  require('node:http').createServer(listener).listen(port, '127.0.0.1');
}

/** Manages the program `exec` in workers of `interpreter`, and restarts it at SIGUSR2. */
function managing({ exec, config }) {
  const { ClusterManager } = require('drover');
  const manager = new ClusterManager({ exec, ...config });
  manager.start().then(
    () => console.log('SERVES'),
    (error) => console.log(`FAILED ${error.code} ${error.message}`),
  );
}

const answer = async (port) => (await request(port)).json();

for (const [primary, workers] of [
  ['node', 'bun'],
  ['bun', 'node'],
]) {
  test(`a primary under ${primary} runs workers under ${workers}`, async (t) => {
    const bun = await findBun(t);
    if (bun === null) return;
    const binaries = { bun, node: process.execPath };
    const port = await freePort();
    const exec = write(t, plain, { name: 'plain.js', given: { port } });
    const cluster = program(t, managing, { given: { exec, config: { ...CONFIG, interpreter: binaries[workers] } }, node: binaries[primary] });
    await cluster.until(/SERVES|FAILED.*/);
    const answers = await Promise.all(Array.from({ length: 6 }, () => answer(port)));
    assert.deepEqual([...new Set(answers.map(({ runtime }) => runtime))], [workers]);
    assert.equal(new Set(answers.map(({ pid }) => pid)).size, 2);
  });
}

test('a rolling restart from Node.js to Bun and back loses no request of connections that are kept', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  // The interpreter of the next workers is what this link names.
  const interpreter = path.join(folder(t), 'node');
  const name = (binary) => {
    fs.rmSync(interpreter, { force: true });
    fs.symlinkSync(binary, interpreter);
  };
  name(process.execPath);
  const server = `require('node:http').createServer((${answering})()).listen(${port}, '127.0.0.1');`;
  const exec = write(t, server, { name: 'answering.js' });
  const cluster = program(t, managing, { given: { exec, config: { ...CONFIG, interpreter } } });
  await cluster.until(/SERVES/);
  const end = new AbortController();
  const clients = Promise.all(Array.from({ length: 6 }, (_, seed) => ask(port, seed + 1, end.signal, { pipelines: false })));
  for (const binary of [bun, process.execPath]) {
    const since = cluster.mark;
    name(binary);
    cluster.signal('SIGUSR2');
    await Promise.race([cluster.event('command:done', {}, { since }), clients]);
  }
  end.abort();
  const told = await clients;
  assert.ok(new Set(told.flatMap(({ workers }) => [...workers])).size > 3);
});

/** Sends one request on a connection of its own, from this address. */
function visit(port, localAddress) {
  return new Promise((resolve, reject) => {
    const asked = http.get({ port, host: '127.0.0.1', localAddress, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve(JSON.parse(text)));
    });
    asked.on('error', reject);
  });
}

/** Visits from so many addresses, so often from each, at most 50 at a time. */
async function visits(port, addresses, each) {
  const all = Array.from({ length: addresses * each }, (_, at) => `127.0.${1 + ((at % addresses) >> 7)}.${1 + (at % addresses & 127)}`);
  const answers = [];
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      for (let address = all.pop(); address !== undefined; address = all.pop()) answers.push(await visit(port, address));
    }),
  );
  return answers;
}

/** Tells the worker's slot. */
function slots({ port, config }) {
  const { createServer } = require('drover');
  const app = createServer({
    app: require('node:http').createServer((asked, response) =>
      response.end(JSON.stringify({ slot: process.env.WORKER_ID, address: asked.socket.remoteAddress })),
    ),
    cluster: { enabled: true, config },
  });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('SERVES'));
}

test('under Bun 10,000 connections by ip-hash come to one slot for each address, also while the cluster rolls', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const config = { ...CONFIG, workers: 4, loadBalancing: { strategy: 'ip-hash', healthAware: false } };
  const cluster = program(t, slots, { given: { port, config }, node: bun });
  await cluster.until(/SERVES/);
  const since = cluster.mark;
  cluster.signal('SIGUSR2');
  const answers = await visits(port, 250, 40);
  await cluster.event('command:done', {}, { since });
  const bySource = new Map();
  for (const { address, slot } of answers) bySource.set(address, (bySource.get(address) ?? new Set()).add(slot));
  assert.equal(answers.length, 10_000);
  assert.equal(bySource.size, 250);
  assert.deepEqual([...bySource].filter(([, found]) => found.size > 1), []);
  assert.equal(new Set(answers.map(({ slot }) => slot)).size, 4);
});

test('under Bun 10,000 connections by round-robin are even', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const config = { ...CONFIG, workers: 4, loadBalancing: { strategy: 'round-robin', healthAware: false } };
  const cluster = program(t, slots, { given: { port, config }, node: bun });
  await cluster.until(/SERVES/);
  const counts = new Map();
  for (const { slot } of await visits(port, 1, 10_000)) counts.set(slot, (counts.get(slot) ?? 0) + 1);
  for (const [slot, count] of counts) assert.ok(Math.abs(count - 2500) <= 250, `slot ${slot}: ${count} of 10,000`);
  assert.equal(counts.size, 4);
});

test('a program that Bun has compiled runs as a cluster', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const file = write(t, slots, { given: { port, config: CONFIG } });
  const compiled = path.join(path.dirname(file), 'compiled');
  await promisify(execFile)(bun, ['build', '--compile', file, '--outfile', compiled], { cwd: path.dirname(file) });
  const cluster = run(t, compiled, { node: 'env' });
  await cluster.until(/SERVES/);
  const answers = await Promise.all(Array.from({ length: 6 }, () => answer(port)));
  assert.deepEqual([...new Set(answers.map(({ slot }) => slot))].sort(), ['0', '1']);
});

test('a Bun whose socket calls cannot be replaced serves as one process, and says once why', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  // The same program with another name in its import table, of a function that is not called here.
  const bytes = fs.readFileSync(bun);
  const at = bytes.indexOf('\0sendmsg\0', 'latin1');
  assert.ok(at > 0);
  bytes.write('sendmsX', at + 1, 'latin1');
  const changed = path.join(folder(t), 'bun');
  fs.writeFileSync(changed, bytes, { mode: 0o755 });
  const port = await freePort();
  const single = program(t, slots, { given: { port, config: CONFIG }, node: changed });
  await single.until(/SERVES/);
  const why = /does not know how this version of Bun makes its socket calls/g;
  assert.equal(single.output.match(why).length, 1);
  assert.ok(single.isAlive);
  assert.equal((await answer(port)).slot, undefined);
});

test('bun test runs a test that starts a cluster', async (t) => {
  const bun = await findBun(t);
  if (bun === null) return;
  const port = await freePort();
  const place = folder(t);
  const server = path.join(place, 'server.js');
  fs.writeFileSync(server, `(${slots})(${JSON.stringify({ port, config: CONFIG })});\n`);
  fs.writeFileSync(
    path.join(place, 'cluster.test.js'),
    `const { expect, test } = require('bun:test');
    const { ClusterManager } = require('drover');
    test('a cluster serves', async () => {
      const manager = new ClusterManager({ exec: ${JSON.stringify(server)}, workers: 2, loadBalancing: { healthAware: false }, monitoring: { port: false } });
      await manager.start();
      const answers = await Promise.all(Array.from({ length: 6 }, () => fetch('http://127.0.0.1:${port}/', { headers: { connection: 'close' } }).then((found) => found.json())));
      expect(new Set(answers.map(({ slot }) => slot)).size).toBe(2);
      await manager.stop();
    });\n`,
  );
  const { stderr } = await promisify(execFile)(bun, ['test', 'cluster.test.js'], { cwd: place, env: { ...process.env, CLUSTER_ENABLED: 'true' }, timeout: 60_000 });
  assert.match(stderr, /1 pass/);
});
