'use strict';

// The end of a process as a deployment sees it: readiness goes first, then what is under way, then the hooks.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { printed } = require('./helpers/runtime');

function ending({ port, config, enabled, own }) {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled, config } });
  app.get('/', (_, response) => response.send(`${process.pid}`));
  app.get('/slow', (_, response) => {
    const answer = () => {
      console.log('ANSWERS');
      response.send('slow');
    };
    setTimeout(answer, 400);
  });
  if (own) app.get('/health', (_, response) => response.send('my own'));
  app.onShutdown(async () => {
    console.log('HOOK BEGINS');
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log('HOOK ENDS');
  });
  app.onShutdown(() => {
    throw new Error('a hook that fails');
  });
  process.on('exit', () => console.log(`EXIT ${app.isWorker}`));
  app.start(port, '127.0.0.1').then(() => (app.isPrimary ? console.log('the cluster is ready') : null));
}

async function serving(t, { config, enabled = true, own = false, env } = {}) {
  const port = await freePort();
  const cluster = program(t, ending, { given: { port, config: { workers: 1, ...config }, enabled, own }, env });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

for (const [what, enabled] of [
  ['in a worker', true],
  ['in a process without a cluster', false],
]) {
  test(`onShutdown hooks run ${what} after the last request and before the exit`, async (t) => {
    const { cluster, port } = await serving(t, { enabled });
    const slow = request(port, { path: '/slow' });
    await request(port);
    cluster.signal('SIGTERM');
    assert.equal((await slow).status, 200);
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
    assert.match(cluster.stdout, /ANSWERS\n[^]*HOOK BEGINS\n[^]*HOOK ENDS\n[^]*EXIT/);
    assert.match(cluster.output, new RegExp(`an onShutdown hook failed: ${printed('Error', 'a hook that fails')}`));
    assert.equal(cluster.stdout.match(/HOOK BEGINS/g).length, 1);
  });
}

test('hooks run when a worker is replaced by a roll', async (t) => {
  const { cluster } = await serving(t);
  cluster.signal('SIGUSR2');
  await cluster.event('command:done', { command: 'restartCluster' });
  assert.match(cluster.stdout, /HOOK BEGINS\n[^]*HOOK ENDS\n[^]*EXIT true/);
});

test('a hook that a hook adds runs too', async (t) => {
  const main = () => {
    const app = require('drover').createServer({ cluster: { enabled: true, workers: 1 } });
    app.onShutdown(() => {
      console.log('FIRST');
      app.onShutdown(() => console.log('SECOND'));
    });
    app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('UP'));
  };
  const cluster = program(t, main, { env: { PORT: String(await freePort()) } });
  await cluster.until(/UP/);
  cluster.signal('SIGTERM');
  await cluster.exit;
  assert.match(cluster.stdout, /FIRST\n[^]*SECOND/);
});

test('hooks that take too long are cut off at the deadline', async (t) => {
  const cluster = program(
    t,
    ({ port }) => {
      const processManagement = { gracefulShutdownTimeout: 800, killTimeout: 300 };
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1, processManagement } } });
      app.onShutdown(() => new Promise(() => setInterval(() => {}, 1000)));
      app.start(port, '127.0.0.1').then(() => (app.isPrimary ? console.log('the cluster is ready') : null));
    },
    { given: { port: await freePort() } },
  );
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
});

test('hooks run also at the deadline, and if the program has called stopCluster() meanwhile', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const server = require('node:http').createServer(() => {
        app.cluster.once('worker:draining', () => console.log('DRAINS'));
        console.log('ASKED');
      });
      const processManagement = { gracefulShutdownTimeout: 3000, killTimeout: 1500 };
      const config = { workers: 1, processManagement };
      const app = require('drover').createServer({ app: server, cluster: { enabled: true, config } });
      app.onShutdown(() => console.log('HOOK'));
      process.on('SIGTERM', async () => {
        if (app.isWorker) console.log('TERM');
        await app.stopCluster();
        process.exit(0);
      });
      app.start(port, '127.0.0.1').then(() => (app.isPrimary ? console.log('the cluster is ready') : null));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  const asking = assert.rejects(request(port), { code: 'ECONNRESET' });
  await cluster.until(/ASKED/);
  const [worker] = cluster.others();
  cluster.signal('SIGTERM');
  await cluster.until(/DRAINS/);
  process.kill(worker, 'SIGTERM');
  await cluster.until(/TERM/);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await asking;
  assert.match(cluster.stdout, /HOOK/);
});

test('shutdownDelay: /ready says 503 while everything still serves, then the cluster drains', async (t) => {
  const processManagement = { shutdownDelay: 5000, gracefulShutdownTimeout: 20_000 };
  const { cluster, port } = await serving(t, { config: { processManagement } });
  assert.equal((await request(port, { path: '/ready' })).status, 200);
  cluster.signal('SIGTERM');
  let ready;
  do ready = await request(port, { path: '/ready' });
  while (ready.status === 200);
  assert.equal(ready.status, 503);
  assert.equal(ready.json().status, 'unavailable');
  assert.equal((await request(port)).status, 200, 'new connections are served');
  assert.equal((await request(port, { path: '/health' })).status, 200, 'it is alive');
  assert.deepEqual(cluster.events('worker:draining'), []);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
});

for (const [what, enabled] of [
  ['a cluster', true],
  ['one process', false],
]) {
  test(`/health and /ready of ${what}: their responses, and what they omit in production`, async (t) => {
    const { port } = await serving(t, { enabled, env: { NODE_ENV: 'staging' } });
    const health = await request(port, { path: '/health?from=lb' });
    assert.equal(health.status, 200);
    assert.equal(health.headers['cache-control'], 'no-store');
    const told = health.json();
    assert.deepEqual(
      Object.keys(told).sort(),
      ['memory', 'status', 'timestamp', 'uptime', 'version', 'worker', 'workerId'],
    );
    assert.equal(told.status, 'healthy');
    const pid = Number((await request(port)).body);
    assert.deepEqual([told.worker, told.workerId], [pid, enabled ? '0' : null]);
    assert.equal((await request(port, { path: '/ready', method: 'HEAD' })).body, '');
    assert.equal((await request(port, { path: '/health', method: 'POST' })).status, 404);
    const { port: inProduction } = await serving(t, { enabled });
    const kept = (await request(inProduction, { path: '/ready' })).json();
    assert.deepEqual(Object.keys(kept).sort(), ['status', 'timestamp', 'uptime', 'worker', 'workerId']);
  });
}

test('a middleware that answers /health and calls next() is not disturbed', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
    app.use((request, response, next) => {
      if (request.url !== '/health') return next();
      response.on('finish', () => setImmediate(next));
      response.send('from the middleware');
    });
    app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
  };
  const cluster = program(t, main, { given: { port } });
  await cluster.until(/the cluster is ready/);
  for (let visit = 0; visit < 3; visit += 1) assert.equal((await request(port, { path: '/health' })).body, 'from the middleware');
  assert.equal((await request(port, { path: '/ready' })).json().status, 'ready');
  assert.doesNotMatch(cluster.output, /ERR_HTTP_HEADERS_SENT/);
  assert.deepEqual(cluster.events('worker:restart'), []);
});

test('the program’s own /health route takes precedence', async (t) => {
  const { port } = await serving(t, { own: true });
  assert.equal((await request(port, { path: '/health' })).body, 'my own');
  assert.equal((await request(port, { path: '/ready' })).json().status, 'ready');
});
