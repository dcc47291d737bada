'use strict';

// The log over the monitoring API: its last lines, filtered; what comes most often; how loud it is. And what it says of
// requests that take long.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');

function talking({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((asked, response) => {
      const { pathname, searchParams } = new URL(asked.url, 'http://localhost');
      // In one go: what a second may hold is then counted in one.
      process.stdout.write(searchParams.getAll('line').map((line) => `${line}\n`).join(''));
      if (pathname !== '/slow') return response.end();
      setTimeout(() => response.end(), 60);
    }),
    cluster: { enabled: true, config: { workers: 2, loadBalancing: { strategy: 'round-robin', healthAware: false }, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function serving(t, logging = {}, monitoring = {}) {
  const port = await freePort();
  const config = { monitoring: { port: 0, ...monitoring }, logging };
  const cluster = program(t, talking, { given: { port, config } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  const say = (...lines) => request(port, { path: `/?${new URLSearchParams(lines.map((line) => ['line', line]))}` });
  const logs = async (filter = {}) => {
    const { status, body } = await request(api, { path: `/cluster/logs?${new URLSearchParams(filter)}` });
    return { status, ...JSON.parse(body) };
  };
  const setLevel = (body, headers = {}) =>
    request(api, {
      method: 'POST',
      path: '/cluster/log-level',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  return { cluster, port, say, logs, setLevel };
}

const messages = ({ lines }) => lines.map(({ msg }) => msg);

test('/cluster/logs returns the last lines, filtered, and each line once to a polling client', async (t) => {
  const { cluster, say, logs } = await serving(t);
  const before = (await logs()).next;
  await say('one', JSON.stringify({ level: 40, msg: 'two', user: 'Ann' }));
  await say('three');
  await cluster.until(/three/);
  const found = await logs({ after: before });
  assert.deepEqual(messages(found), ['one', 'two', 'three']);
  const [one, two, three] = found.lines;
  assert.notEqual(one.worker, three.worker);
  assert.deepEqual(two, { ...two, level: 'warn', requestId: null, fields: { user: 'Ann' }, worker: one.worker });
  assert.deepEqual(found.lines.map(({ id }) => id), [before + 1, before + 2, before + 3]);
  assert.equal(found.next, before + 3);
  assert.deepEqual((await logs({ after: found.next })).lines, []);
  assert.deepEqual(messages(await logs({ after: before, limit: 1 })), ['one']);
  assert.deepEqual(messages(await logs({ level: 'warn', worker: one.worker })), ['two']);
  assert.deepEqual(messages(await logs({ text: 'ANN' })), ['two']);
  assert.deepEqual(messages(await logs({ since: two.time, worker: three.worker, text: 'three' })), ['three']);
  const own = await logs({ worker: 'primary' });
  assert.ok(own.lines.some(({ fields }) => fields.event === 'cluster:starting'));
  assert.ok(own.lines.every(({ msg }) => !['one', 'two', 'three'].includes(msg)));
  const about = await logs({ worker: '0', text: 'worker:ready' });
  assert.deepEqual(about.lines.map(({ worker, fields }) => [worker, fields.event]), [['0', 'worker:ready']]);
});

test('frequent messages are counted regardless of the numbers in them', async (t) => {
  const { cluster, say, logs } = await serving(t);
  await say(...Array.from({ length: 30 }, (_, number) => `user ${number} logged in`), 'the end');
  await cluster.until(/the end/);
  const [first] = (await logs()).frequent;
  assert.deepEqual({ ...first, last: 0 }, { message: 'user # logged in', level: 'info', count: 30, last: 0 });
});

test('an invalid filter is refused with the allowed values', async (t) => {
  const { logs } = await serving(t);
  for (const filter of [{ level: 'loud' }, { worker: 'x' }, { worker: '+1' }, { limit: 0 }, { limit: 1001 }, { after: -1 }, { since: 'now' }]) {
    const { status, error } = await logs(filter);
    assert.equal(status, 400);
    assert.equal(error.code, 'INVALID_ARGUMENT');
  }
});

test('lines that maxRate held back are counted', async (t) => {
  const { cluster, say, logs } = await serving(t, { maxRate: 5 });
  await say(...Array.from({ length: 200 }, () => 'again'));
  await cluster.event('log:dropped', { worker: /\d/ });
  const { dropped } = await logs();
  const written = [...cluster.raw.matchAll(/"again"/g)].length;
  assert.equal(written + dropped, 200);
});

test('/cluster/log-level changes the level of the log or of a component, with authorisation', async (t) => {
  const { cluster, setLevel } = await serving(t, { components: { workers: 'silent' } }, { token: 'secret' });
  const authorization = { authorization: 'Bearer secret' };
  assert.equal((await setLevel({ level: 'debug' })).status, 401);
  for (const body of [{ level: 'loud' }, { level: 'info', component: 'dispach' }]) {
    assert.equal((await setLevel(body, authorization)).status, 400);
  }
  const { status, body } = await setLevel({ level: 'info', component: 'workers' }, authorization);
  assert.deepEqual([status, JSON.parse(body)], [200, { level: 'info', component: 'workers' }]);
  await cluster.event('log:level-changed', { component: 'workers', to: 'info' });
  assert.deepEqual(cluster.events('worker:ready'), []);
  cluster.signal('SIGTERM');
  await cluster.event('worker:exit', { reason: 'stopped' });
});

test('a level for the whole log applies to every component', async (t) => {
  const { cluster, setLevel } = await serving(t, { components: { workers: 'silent' } });
  assert.equal((await setLevel({ level: 'info' })).status, 200);
  cluster.signal('SIGTERM');
  await cluster.event('worker:exit', { reason: 'stopped' });
});

test('a slow request is logged without its query', async (t) => {
  const { cluster, port, logs } = await serving(t, { slowRequests: 50, format: 'json' });
  await request(port, { path: '/slow?password=hunter2', headers: { 'x-request-id': 'client-1' } });
  const line = await cluster.event('request:slow');
  const { level, worker, method, path, statusCode, responseTime, requestId } = line;
  const found = await logs({ worker, text: 'took' });
  assert.deepEqual(found.lines.map(({ worker: whose, level }) => [whose, level]), [[worker, 'warn']]);
  assert.deepEqual([level, method, path, statusCode, requestId], [40, 'GET', '/slow', 200, 'client-1']);
  assert.ok(responseTime >= 50);
  assert.match(line.msg, /^Worker \d took \d+ ms for GET \/slow \(200\)$/);
  assert.doesNotMatch(cluster.raw, /hunter2/);
});

test('the log has a health report once a minute', async (t) => {
  const { cluster } = await serving(t);
  const { msg, alive, wanted, workers, memory } = await cluster.event('health:report', {}, { patience: 90_000 });
  assert.match(msg, /^Cluster health: 2\/2 workers alive, \d+MB$/);
  assert.deepEqual([alive, wanted, workers.length], [2, 2, 2]);
  assert.ok(memory > 0 && workers.every(({ pid, restarts }) => pid > 0 && restarts === 0));
});
