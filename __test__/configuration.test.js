'use strict';

// Faults of a configuration are told all at once, and nothing is started; what this version lacks is refused
// when the cluster would start, never ignored.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Tells how createServer and start went. */
function configured({ options, port }) {
  const { createServer } = require('drover');
  const tell = (what, { name, code, message, details }) =>
    console.log(`${what} ${JSON.stringify({ name, code, message, details })}`);
  let app;
  try {
    app = createServer(options);
  } catch (error) {
    tell('THREW', error);
    throw error;
  }
  console.log('MADE');
  app.start(port, '127.0.0.1').then(
    () => console.log('STARTED'),
    (error) => tell('REJECTED', error),
  );
}

const configure = async (t, config, env) =>
  program(t, configured, { given: { options: { cluster: { enabled: true, config } }, port: await freePort() }, env });

test('all configuration errors are reported at once with their paths, and nothing is started', async (t) => {
  const cluster = await configure(t, {
    wrokers: 4,
    workers: 0,
    processManagement: { restartDelay: 'soon', ready: 'never' },
    loadBalancing: { strategy: 'fair' },
  });
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
  const [, told] = await cluster.until(/THREW (.*)/);
  const { name, code, message, details } = JSON.parse(told);
  assert.deepEqual([name, code], ['ConfigurationError', 'CONFIGURATION_INVALID']);
  const paths = details.faults.map(({ path }) => path).sort();
  assert.equal(paths.length, 5, told);
  for (const key of ['wrokers', 'workers', 'restartDelay', 'ready', 'strategy']) {
    assert.ok(
      paths.some((path) => path.endsWith(`.${key}`)),
      `${key} in ${paths}`,
    );
    assert.match(message, new RegExp(key));
  }
  const typo = details.faults.find(({ path }) => path.endsWith('wrokers'));
  assert.match(JSON.stringify(typo), /workers/, 'the nearest known key is named');
  assert.match(cluster.stderr, /ConfigurationError/);
  assert.doesNotMatch(cluster.stdout, /MADE/);
  assert.deepEqual(cluster.events('cluster:starting'), []);
  await cluster.gone();
});

test('an invalid environment variable is an error that names it', async (t) => {
  const cluster = await configure(t, {}, { CLUSTER_WORKERS: 'many', WORKER_RESTART_DELAY: '-1' });
  assert.equal((await cluster.exit).code, 1);
  const [, told] = await cluster.until(/THREW (.*)/);
  const paths = JSON.parse(told).details.faults.map(({ path }) => path);
  assert.deepEqual(paths.sort(), ['CLUSTER_WORKERS', 'WORKER_RESTART_DELAY']);
});

test('different values for an option and its synonym are an error', async (t) => {
  const cluster = await configure(t, { maxRestarts: 3, processManagement: { maxRestarts: 4 } });
  assert.equal((await cluster.exit).code, 1);
  await cluster.until(/THREW .*maxRestarts/);
});

test('unsupported options are refused at the start, all at once', async (t) => {
  const cluster = await configure(t, { workers: 2, security: { isolateWorkers: true, sandbox: true } });
  assert.equal((await cluster.exit).code, 1);
  await cluster.until(/MADE/);
  const [, told] = await cluster.until(/REJECTED (.*)/);
  const { code, message } = JSON.parse(told);
  assert.equal(code, 'NOT_SUPPORTED');
  assert.match(message, /security\.isolateWorkers/);
  assert.match(message, /security\.sandbox/);
  assert.deepEqual(cluster.events('cluster:starting'), []);
  await cluster.gone();
});

test('disabled or omitted options need no support', async (t) => {
  const cluster = await configure(t, { workers: 1, healthCheck: { enabled: false }, monitoring: { enabled: false } });
  await cluster.until(/STARTED/);
});

test('without a cluster unsupported options are not refused', async (t) => {
  const cluster = await configure(t, { security: { isolateWorkers: true } }, { CLUSTER_ENABLED: 'false' });
  await cluster.until(/STARTED/);
});

test('a second start returns the same promise, or ALREADY_STARTED elsewhere', async (t) => {
  const [port, other] = [await freePort(), await freePort()];
  const cluster = program(
    t,
    ({ port, other }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      const first = app.start(port, '127.0.0.1');
      const again = app.start(String(port), '127.0.0.1');
      app.start(other, '127.0.0.1').catch(({ code, name }) => console.log(`ELSEWHERE ${name} ${code}`));
      first.then(async () => {
        if (app.isWorker) return;
        await app.start(port, '127.0.0.1');
        const stops = [app.stopCluster(), app.stopCluster(), app.stopCluster(true)];
        await Promise.all(stops);
        console.log(`SAME ${first === again} ${new Set(stops).size === 1} ${app.getAllWorkers().length}`);
      });
    },
    { given: { port, other } },
  );
  await cluster.until(/ELSEWHERE ClusterError ALREADY_STARTED/);
  await cluster.until(/SAME true true 0/);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, 'nothing of drover’s keeps the process');
  await cluster.gone();
});

test('a cluster that was stopped may be started again', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    async ({ port }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
      app.get('/', (_, response) => response.send('served'));
      const starting = app.start(port, '127.0.0.1');
      if (app.isWorker) return;
      await starting;
      const pids = app.getAllWorkers().map(({ pid }) => pid);
      const stopping = app.stopCluster();
      const early = await app.start(port, '127.0.0.1').catch(({ code }) => code);
      await stopping;
      console.log(`AT REST ${early} ${app.getAllWorkers().length} ${app.address()}`);
      await app.start(port, '127.0.0.1');
      const again = app.getAllWorkers().filter(({ pid }) => !pids.includes(pid));
      console.log(`AGAIN ${again.length} ${app.address().port}`);
    },
    { given: { port } },
  );
  await cluster.until(/AT REST STOPPED 0 null/);
  await cluster.until(new RegExp(`AGAIN 2 ${port}`));
  assert.equal((await request(port)).body, 'served');
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
});
