'use strict';

// Health checks: a worker that fails them is out of dispatch after `maxFailures` and replaced; one that only answers
// otherwise than expected by nobody is left alone; probes are counted nowhere.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { tlsEnvironment } = require('./helpers/certificate');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

/** Milliseconds that a test waits for what should happen soon, on a busy machine. */
const PATIENCE = 20_000;

/** The checks of these tests come quickly. */
const QUICK = { interval: 100, timeout: 1000, maxFailures: 2, retryDelay: 50 };

/**
 * Every worker answers with its pid. GET /fail makes /health of that worker answer 500, /throw makes its customCheck
 * throw, /block blocks its loop, /errors makes it answer 500 to everything, and SIGUSR2 makes it well. The primary prints
 * the events.
 */
function checked({ port, config, kind, tls }) {
  const fs = require('node:fs');
  const { createServer } = require('drover');
  const state = { health: 200, status: 200, throws: false, slow: 0 };
  const block = (ms) => {
    for (const until = performance.now() + ms; performance.now() < until; );
  };
  const listener = (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    if (pathname === '/health' && config.health !== 'none') {
      response.statusCode = state.health;
      return response.end();
    }
    if (pathname === '/fail') state.health = 500;
    if (pathname === '/throw') state.throws = true;
    if (pathname === '/errors') state.status = 500;
    response.statusCode = pathname === '/errors' ? 200 : pathname === '/health' ? 404 : state.status;
    response.end(`${process.pid} ${request.socket.remoteAddress}`);
    if (pathname === '/block') setImmediate(block, Number(searchParams.get('ms')));
  };
  const keys = tls && { key: fs.readFileSync(process.env.TLS_KEY_FILE), cert: fs.readFileSync(process.env.TLS_CERT_FILE) };
  const made = {
    http: () => require('node:http').createServer(listener),
    https: () => require('node:https').createServer(keys, listener),
    http2: () => require('node:http2').createSecureServer({ ...keys, allowHTTP1: true }, listener),
    fetch: () => ({ fetch: ({ url }) => new Response(null, { status: new URL(url).pathname === '/health' ? state.health : 200 }) }),
    tcp: () => require('node:net').createServer((socket) => socket.end('hello')),
  };
  const customCheck = (worker) => {
    if (state.throws) throw new Error(`no disk for ${worker.id}${config.custom === 'huge' ? '!'.repeat(4 << 20) : ''}`);
    return { healthy: true, metrics: { since: new Date(0), depth: config.custom === 'huge' ? '7'.repeat(4 << 20) : 7 } };
  };
  const healthCheck = config.custom ? { ...config.healthCheck, customCheck } : config.healthCheck;
  const rest = { ...config };
  delete rest.custom;
  delete rest.health;
  const app = createServer({ app: made[kind](), cluster: { enabled: true, config: { workers: 2, monitoring: { port: 0 }, ...rest, healthCheck } } });
  app.onMessage('who', () => process.pid);
  if (app.isWorker) process.on('SIGUSR2', () => Object.assign(state, { health: 200, status: 200, throws: false }));
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGUSR2', async () => {
      const got = await Promise.all(Array.from({ length: 40 }, () => app.sendToRandomWorker('who', null)));
      console.log(`GOT ${JSON.stringify([...new Set(got)])}`);
    });
    for (const name of ['worker:unhealthy', 'health:changed', 'alert', 'worker:exit', 'worker:ready']) {
      app.cluster.on(name, (event) => console.log(`EVENT ${name} ${JSON.stringify(event)}`));
    }
    console.log('the cluster is ready');
  });
}

async function serving(t, config, { kind = 'http', tls = false, ...options } = {}) {
  const port = await freePort();
  const healthCheck = { ...QUICK, ...config.healthCheck };
  const given = { port, kind, tls, config: { ...config, healthCheck } };
  const cluster = program(t, checked, { given, ...options });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  const state = async () => {
    const [workers, health, metrics] = await Promise.all(
      ['workers', 'health', 'stats'].map((what) => request(api, { path: `/cluster/${what}` })),
    );
    return { workers: workers.json(), health: health.json(), metrics: metrics.json() };
  };
  /** Resolves when the state is as wanted. */
  const become = async (wanted) => {
    const until = performance.now() + PATIENCE;
    for (;;) {
      const now = await state();
      if (wanted(now)) return now;
      assert.ok(performance.now() < until, `not as wanted: ${JSON.stringify(now)}`);
    }
  };
  return { cluster, port, become, state };
}

/** The workers' checks: { '0': 'healthy', ... } */
const statuses = ({ workers }) => Object.fromEntries(workers.map(({ id, health }) => [id, health.status]));
const allHealthy = (state) => Object.values(statuses(state)).every((status) => status === 'healthy');

const EXPECTS = { endpoint: '/health', expectedStatus: 200 };

/** Makes one worker bad at `path`; resolves to its pid when it has been replaced. */
async function replacedAfter({ cluster, port }, path) {
  const [pid] = (await request(port, { path })).body.toString().split(' ');
  const [, unhealthy] = await cluster.until(/EVENT worker:unhealthy (.*)/);
  await cluster.until(new RegExp(`EVENT worker:exit .*"pid":${pid},`));
  const pids = new Set();
  for (let visit = 0; visit < 6 || pids.size < 2; visit += 1) pids.add((await request(port)).body.toString().split(' ')[0]);
  assert.ok(!pids.has(pid), 'it serves no more');
  return JSON.parse(unhealthy);
}

test('a worker whose /health answers 500 gets no connections and is replaced', async (t) => {
  const made = await serving(t, { healthCheck: EXPECTS });
  const told = await replacedAfter(made, '/fail');
  assert.equal(told.reason, 'failed 2 health checks in a row: GET /health answered 500, expected 200');
  assert.equal(told.replaced, true);
});

test('a worker whose customCheck throws is replaced, and the check’s metrics are kept', async (t) => {
  const made = await serving(t, { custom: true });
  const { workers } = await made.become(allHealthy);
  assert.deepEqual(workers[0].health.metrics, { since: '1970-01-01T00:00:00.000Z', depth: 7 });
  assert.ok(Math.abs(workers[0].health.lastCheck - Date.now()) < 60_000);
  const told = await replacedAfter(made, '/throw');
  assert.match(told.reason, /^failed 2 health checks in a row: customCheck threw: no disk for [01]$/);
});

test('a worker whose loop is blocked is replaced; only its own requests are delayed', async (t) => {
  const made = await serving(t, {
    healthCheck: { timeout: 200 },
    processManagement: { hangTimeout: 0, gracefulShutdownTimeout: 1500, killTimeout: 500 },
  });
  const { cluster, port } = made;
  const [pid] = (await request(port, { path: '/block?ms=60000' })).body.toString().split(' ');
  await cluster.until(/EVENT worker:unhealthy .*did not respond within 200 ms/);
  const visits = [];
  for (let visit = 0; visit < 20; visit += 1) visits.push((await request(port)).body.toString().split(' ')[0]);
  assert.ok(!visits.includes(pid), 'nothing goes to the blocked one');
  await cluster.until(new RegExp(`EVENT worker:exit .*"pid":${pid},`));
});

test('a program that answers 404 to everything is healthy if no endpoint is configured', async (t) => {
  const made = await serving(t, { health: 'none' });
  const { workers, health } = await made.become(allHealthy);
  assert.deepEqual(workers.map(({ healthy }) => healthy), [true, true]);
  assert.equal(health.status, 'healthy');
});

for (const kind of ['https', 'http2']) {
  test(`a probe finds a server of ${kind}, and what it expects`, async (t) => {
    const made = await serving(t, { healthCheck: EXPECTS }, { kind, tls: true, env: tlsEnvironment(t) });
    await made.become(allHealthy);
    const [pid] = (await request(made.port, { path: '/fail', secure: true })).body.toString().split(' ');
    await made.cluster.until(/EVENT worker:unhealthy .*GET \/health answered 500, expected 200/);
    await made.cluster.until(new RegExp(`EVENT worker:exit .*"pid":${pid},`));
  });
}

test('without an HTTP server the event loop’s answer counts', async (t) => {
  const made = await serving(t, { healthCheck: EXPECTS }, { kind: 'tcp' });
  const { workers } = await made.become(allHealthy);
  assert.deepEqual(workers.map(({ health }) => health.reason), [null, null]);
});

for (const kind of ['http', 'https', 'http2', ...(isBun ? ['fetch'] : [])]) {
  test(`probes of a server of ${kind} are counted nowhere`, async (t) => {
    const tls = kind === 'https' || kind === 'http2';
    const made = await serving(t, { healthCheck: EXPECTS }, { kind, tls, env: tls ? tlsEnvironment(t) : {} });
    await made.become(allHealthy);
    // What a probe counts it counts at its end: a second one has come by then.
    const { workers: first } = await made.state();
    const later = ({ workers }) => workers.every(({ health }, index) => health.lastCheck > first[index].health.lastCheck);
    const { metrics, workers } = await made.become(later);
    assert.deepEqual([metrics.totalRequests, metrics.bytesReceived, metrics.bytesSent], [0, 0, 0]);
    assert.deepEqual(workers.map(({ activeConnections }) => activeConnections), [0, 0]);
  });
}

test('metrics of a customCheck that are too long are dropped, and its error is truncated', async (t) => {
  const made = await serving(t, { custom: 'huge', processManagement: { respawn: false } });
  const { workers } = await made.become(allHealthy);
  assert.deepEqual(workers.map(({ health, generation }) => [health.metrics, generation]), [[null, 1], [null, 1]]);
  await made.cluster.until(/customCheck returns more metrics than/);
  await request(made.port, { path: '/throw' });
  const [, told] = await made.cluster.until(/EVENT worker:unhealthy (.*)/);
  assert.match(JSON.parse(told).reason, /customCheck threw: no disk for \d!+$/);
  assert.ok(JSON.parse(told).reason.length < 1000);
});

test('a worker that recovers is kept if no replacement is possible', async (t) => {
  const made = await serving(t, { healthCheck: EXPECTS, processManagement: { respawn: false } });
  const { cluster, port } = made;
  const [pid] = (await request(port, { path: '/fail' })).body.toString().split(' ');
  const [, changed] = await cluster.until(/EVENT health:changed (.*)/);
  assert.equal(JSON.parse(changed).status, 'degraded');
  const { health } = await made.become(({ health }) => health.status === 'degraded');
  assert.deepEqual(health.details.filter(({ healthy }) => !healthy).map(({ reasons }) => reasons), [
    ['GET /health answered 500, expected 200'],
  ]);
  for (let visit = 0; visit < 6; visit += 1) {
    assert.notEqual((await request(port)).body.toString().split(' ')[0], pid, 'the others have its work');
  }
  cluster.signal('SIGUSR2');
  const [, got] = await cluster.until(/GOT (.*)/);
  assert.equal(JSON.parse(got).length, 1);
  assert.ok(!JSON.parse(got).includes(Number(pid)), 'nor is it asked by sendToRandomWorker');
  // The primary knows no way to the unhealthy one either; the other is made bad too, so that both serve again.
  while ((await request(port, { path: '/fail' })).body.toString().startsWith(`${pid} `));
  await cluster.until(/EVENT alert /);
  await cluster.event('alert', { cause: 'cluster_critical' });
  for (const worker of cluster.others()) process.kill(worker, 'SIGUSR2');
  await cluster.until(/EVENT health:changed \{"status":"healthy"/);
  await made.become(allHealthy);
});

test('a worker that answers 5xx unlike its siblings is ejected for a while', async (t) => {
  const circuitBreaker = { failureThreshold: 5, resetTimeout: 1500 };
  const made = await serving(t, { errorHandling: { circuitBreaker } });
  const { cluster, port } = made;
  const [pid] = (await request(port, { path: '/errors' })).body.toString().split(' ');
  let asking = true;
  const seen = [];
  const ask = async () => {
    while (asking) seen.push((await request(port)).body.toString().split(' ')[0]);
  };
  const clients = [ask(), ask()];
  const [, told] = await cluster.until(/EVENT worker:unhealthy (.*)/);
  assert.match(JSON.parse(told).reason, /answers were 5xx.*new connections go to the others for 1\.5 s/);
  assert.equal(JSON.parse(told).replaced, false);
  const id = JSON.parse(told).workerId;
  const out = await made.become((state) => statuses(state)[id] === 'ejected');
  assert.equal(out.health.status, 'degraded');
  const from = seen.length;
  await cluster.event('worker:recovered', { worker: id, from: 'ejection' });
  const others = seen.slice(from, -1).filter((one) => one !== pid);
  assert.ok(others.length > 0);
  await cluster.until(/EVENT worker:unhealthy .*for 3 s/);
  asking = false;
  await Promise.all(clients);
});

test('a broken database ejects nobody', async (t) => {
  const made = await serving(t, { errorHandling: { circuitBreaker: { failureThreshold: 3, resetTimeout: 1000 } } });
  const { port } = made;
  const broken = new Set();
  while (broken.size < 2) broken.add((await request(port, { path: '/errors' })).body.toString());
  const until = performance.now() + 2500;
  const pids = new Set();
  while (performance.now() < until) {
    const answer = await request(port);
    assert.equal(answer.status, 500);
    pids.add(answer.body.toString());
  }
  assert.equal(pids.size, 2);
  assert.deepEqual(Object.values(statuses(await made.state())).filter((status) => status === 'ejected'), []);
});

/** Worker 0 never gets ready. */
function halfThere({ port }) {
  if (process.env.WORKER_ID === '0') throw new Error('no licence for this one');
  const app = require('drover').createServer({
    app: require('node:http').createServer((_, response) => response.end('ok')),
    cluster: { enabled: true, config: { workers: 2, processManagement: { restartDelay: 20, maxRestarts: 1 } } },
  });
  app.start(port, '127.0.0.1').then(async () => {
    if (!app.isPrimary) return;
    console.log(`HEALTH ${JSON.stringify(await app.getClusterHealth())}`);
    app.stopCluster();
  });
}

test('a cluster that starts without some of its workers is degraded, and says which are missing', async (t) => {
  const cluster = program(t, halfThere, { given: { port: await freePort() } });
  const [, told] = await cluster.until(/HEALTH (.*)/);
  const { status, totalWorkers, unhealthyWorkers, details, lastHealthCheck } = JSON.parse(told);
  assert.deepEqual([status, totalWorkers, unhealthyWorkers, lastHealthCheck], ['degraded', 2, ['0'], null]);
  assert.deepEqual(details[0].reasons, ['it is not serving: circuit-open']);
});
