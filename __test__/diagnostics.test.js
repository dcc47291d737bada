'use strict';

// Heap snapshots and CPU profiles of workers: for who shows the token, in files of the user's own.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { failureCluster, folder, program } = require('./helpers/program');

const TOKEN = 'the token of a test';
const shown = { authorization: `Bearer ${TOKEN}` };

async function cluster(t, { monitoring = {}, env, ...options } = {}) {
  const [port, cwd] = [await freePort(), folder(t)];
  const started = failureCluster(t, { port, cwd, env, config: { monitoring: { port: 0, token: TOKEN, ...monitoring }, ...options } });
  const api = await monitoringPort(started);
  await started.until(/the cluster is ready/);
  const post = (route, headers = shown) => request(api, { path: route, method: 'POST', headers });
  return { started, post, port, cwd, api };
}

/** A worker with much to write down, and a short time until its loop counts as hung. */
function crowded({ token }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const config = { workers: 1, processManagement: { hangTimeout: 50 }, monitoring: { port: 0, token } };
  const app = createServer({ app: http.createServer((_, response) => response.end()), cluster: { enabled: true, config } });
  if (app.isWorker) globalThis.kept = Array.from({ length: 500_000 }, (_, at) => ({ at, text: `item ${at}` }));
  app.start(0, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

const told = (answer) => [answer.status, answer.json().error?.code];

function isPrivate(file, bytes) {
  const found = fs.statSync(file);
  assert.equal(found.size, bytes);
  assert.equal(found.mode & 0o777, 0o600);
  assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
}

test('a heap snapshot is one that DevTools reads, in a file of the user’s own, and the worker goes on', async (t) => {
  const { post, started, cwd, port, api } = await cluster(t);
  const [before] = (await request(api, { path: '/cluster/workers' })).json();
  const answer = await post('/cluster/workers/0/heap-snapshot');
  assert.equal(answer.status, 200, answer.body);
  const { file, bytes } = answer.json();
  assert.equal(path.dirname(file), path.join(fs.realpathSync(cwd), 'drover-diagnostics'));
  isPrivate(file, bytes);
  const { snapshot, nodes, edges, strings } = JSON.parse(fs.readFileSync(file, 'utf8'));
  assert.equal(nodes.length, snapshot.node_count * snapshot.meta.node_fields.length);
  assert.equal(edges.length, snapshot.edge_count * snapshot.meta.edge_fields.length);
  assert.ok(strings.length > 1000);
  await started.event('diagnosis:taken', { worker: '0', diagnosis: 'heap-snapshot', file, bytes });
  const [after] = (await request(api, { path: '/cluster/workers' })).json();
  assert.deepEqual([after.pid, after.detail], [before.pid, 'ready']);
  assert.equal((await request(port)).status, 200);
});

test('a CPU profile holds what the worker ran, of the seconds that were asked for; one at a time', async (t) => {
  const { post, port, cwd } = await cluster(t, { workers: 1 });
  let over = false;
  const load = (async () => {
    while (!over) await request(port);
  })();
  const begun = performance.now();
  const first = post('/cluster/workers/0/cpu-profile?seconds=2');
  const place = path.join(cwd, 'drover-diagnostics');
  while (!fs.existsSync(place) || fs.readdirSync(place).length === 0) await request(port);
  const second = await post('/cluster/workers/0/heap-snapshot');
  assert.deepEqual(told(second), [409, 'BUSY']);
  const answer = await first;
  over = true;
  await load;
  assert.equal(answer.status, 200, answer.body);
  assert.ok(performance.now() - begun >= 2000);
  const { file, bytes } = answer.json();
  isPrivate(file, bytes);
  assert.match(path.basename(file), /^worker-0-\d+-\d+\.cpuprofile$/);
  const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(fs.readFileSync(file, 'utf8'));
  assert.equal(samples.length, timeDeltas.length);
  const seconds = (endTime - startTime) / 1e6;
  assert.ok(seconds >= 1.9, `${seconds} s`);
  assert.ok(nodes.some(({ callFrame }) => callFrame.url.endsWith('failure-routes.js')), 'the program is in it');
  assert.equal((await post('/cluster/workers/0/cpu-profile?seconds=1')).status, 200);
});

test('diagnoses require the token, and are disabled without one in the configuration', async (t) => {
  const { post, cwd } = await cluster(t);
  for (const kind of ['heap-snapshot', 'cpu-profile'])
    for (const headers of [{}, { authorization: 'Bearer wrong' }])
      assert.deepEqual(told(await post(`/cluster/workers/0/${kind}`, headers)), [401, 'UNAUTHORIZED'], kind);
  const open = await cluster(t, { monitoring: { token: undefined } });
  for (const kind of ['heap-snapshot', 'cpu-profile']) {
    const answer = await open.post(`/cluster/workers/0/${kind}`);
    assert.deepEqual(told(answer), [403, 'FORBIDDEN'], kind);
    assert.match(answer.json().error.message, /set monitoring\.token/);
  }
  for (const place of [cwd, open.cwd]) assert.equal(fs.existsSync(path.join(place, 'drover-diagnostics')), false);
});

test('invalid requests for diagnoses are refused with a reason', async (t) => {
  const { post } = await cluster(t);
  for (const [route, status, code] of [
    ['/cluster/workers/9/heap-snapshot', 404, 'NO_SUCH_WORKER'],
    ['/cluster/workers/9/cpu-profile', 404, 'NO_SUCH_WORKER'],
    ['/cluster/workers/x/heap-snapshot', 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/00/heap-snapshot', 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/0/cpu-profile?seconds=0', 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/0/cpu-profile?seconds=61', 400, 'INVALID_ARGUMENT'],
    ['/cluster/workers/0/cpu-profile?seconds=x', 400, 'INVALID_ARGUMENT'],
  ])
    assert.deepEqual(told(await post(route)), [status, code], route);
});

test('the death of a worker during a diagnosis is reported, and no partial file remains', async (t) => {
  const { post, started, cwd, api } = await cluster(t, { workers: 1 });
  const asked = post('/cluster/workers/0/cpu-profile?seconds=60');
  const folderOf = path.join(cwd, 'drover-diagnostics');
  while (!fs.existsSync(folderOf) || fs.readdirSync(folderOf).length === 0) await request(api, { path: '/cluster/health' });
  const [{ pid }] = (await request(api, { path: '/cluster/workers' })).json();
  process.kill(pid, 'SIGKILL');
  const answer = await asked;
  assert.deepEqual(told(answer), [409, 'FAILED']);
  assert.match(answer.json().error.message, /CPU profile of worker 0: it ended meanwhile/);
  await started.event('diagnosis:failed', { worker: '0', diagnosis: 'cpu-profile' });
  assert.deepEqual(fs.readdirSync(folderOf), []);
});

test('a worker whose loop is blocked by a snapshot does not count as hung', async (t) => {
  const server = program(t, crowded, { given: { token: TOKEN } });
  const api = await monitoringPort(server);
  await server.until(/the cluster is ready/);
  const [before] = (await request(api, { path: '/cluster/workers' })).json();
  const begun = performance.now();
  const answer = await request(api, { path: '/cluster/workers/0/heap-snapshot', method: 'POST', headers: shown });
  const took = performance.now() - begun;
  assert.equal(answer.status, 200, answer.body);
  t.after(() => fs.rmSync(answer.json().file));
  // Long enough to be judged hung, to be asked for a stack, and to be ended because none came.
  assert.ok(took > 1500, `only ${took} ms`);
  const [after] = (await request(api, { path: '/cluster/workers' })).json();
  assert.equal(after.pid, before.pid);
  assert.deepEqual(server.events('worker:unhealthy', { reason: /hung/ }), []);
});

test('if the program’s folder for it is not private, the file is in the user’s temporary folder', async (t) => {
  const temporary = folder(t);
  const { post, cwd } = await cluster(t, { env: { TMPDIR: temporary } });
  fs.mkdirSync(path.join(cwd, 'drover-diagnostics'));
  fs.chmodSync(path.join(cwd, 'drover-diagnostics'), 0o755);
  const answer = await post('/cluster/workers/0/heap-snapshot');
  assert.equal(answer.status, 200, answer.body);
  const { file, bytes } = answer.json();
  assert.equal(path.dirname(file), path.join(temporary, `drover-${process.getuid()}`, 'drover-diagnostics'));
  isPrivate(file, bytes);
});
