'use strict';

// Where a cluster is not wanted or not allowed there is one process, and everything still works in it.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

/** Code that asks for a cluster of three. */
function asking({ port }) {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 3 } } });
  app.get('/', (_, response) => {
    const { isPrimary, isWorker, workerId = null } = app;
    response.json({ pid: process.pid, isPrimary, isWorker, workerId, workers: app.getAllWorkers() });
  });
  app.get('/refused', async (_, response) => {
    const codes = {};
    for (const method of ['scaleUp', 'scaleDown', 'scale', 'restartWorker', 'restartCluster']) {
      codes[method] = await app[method](1).catch(({ code }) => code);
    }
    response.json(codes);
  });
  app.get('/stop', (_, response) => {
    response.set('connection', 'close').json({});
    response.on('finish', () => app.stopCluster().then(() => console.log('STOPPED')));
  });
  app.start(port, '127.0.0.1').then(() => console.log(`SERVES ${process.pid} ${app.address().port}`));
}

async function alone(t, env) {
  const port = await freePort();
  const server = program(t, asking, { given: { port }, env });
  await server.until(/SERVES/);
  assert.deepEqual(server.others(), []);
  return { server, port };
}

for (const [why, env] of [
  ['NODE_ENV is test', { NODE_ENV: 'test' }],
  ['CLUSTER_ENABLED is false', { CLUSTER_ENABLED: 'false' }],
  ['ENABLE_CLUSTERING is 0', { ENABLE_CLUSTERING: '0' }],
  ['CLUSTER_ENABLED is off and ENABLE_CLUSTERING on', { CLUSTER_ENABLED: 'off', ENABLE_CLUSTERING: 'on' }],
]) {
  test(`one process serves when ${why}`, async (t) => {
    const { server, port } = await alone(t, env);
    const { workers, ...who } = (await request(port)).json();
    assert.deepEqual(who, { pid: server.pid, isPrimary: true, isWorker: false, workerId: null });
    assert.equal(workers.length, 1);
    assert.deepEqual([workers[0].id, workers[0].pid, workers[0].port], ['0', server.pid, port]);
    const codes = (await request(port, { path: '/refused' })).json();
    assert.deepEqual([...new Set(Object.values(codes))], ['NOT_CLUSTERED']);

    await request(port, { path: '/stop' });
    await server.until(/STOPPED/);
    await assert.rejects(request(port), { code: 'ECONNREFUSED' });
    // Nothing of drover's keeps it.
    assert.deepEqual(await server.exit, { code: 0, signal: null });
  });
}

test('NODE_ENV=test is overruled by CLUSTER_ENABLED=true', async (t) => {
  const port = await freePort();
  const env = { NODE_ENV: 'test', CLUSTER_ENABLED: 'true' };
  const cluster = program(t, asking, { given: { port }, env });
  await cluster.until(/SERVES.*SERVES.*SERVES.*SERVES/s);
  assert.equal(cluster.others().length, 3);
});

test('CLUSTER_ENABLED alone makes a cluster of code that asks for none, CLUSTER_WORKERS sets its size', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    () => {
      const app = require('drover').createServer();
      app.get('/', (_, response) => response.send(String(app.workerId)));
      app.start().then(() => app.isPrimary && console.log('SERVES'));
    },
    { env: { CLUSTER_ENABLED: 'on', CLUSTER_WORKERS: '3', PORT: String(port), HOST: '127.0.0.1' } },
  );
  await cluster.until(/SERVES/);
  assert.equal(cluster.others().length, 3);
  assert.match((await request(port)).body, /^[012]$/);
  const [, changed] = await cluster.until(/The environment set ([^"]*)/);
  assert.deepEqual(changed.split(', ').sort(), [
    'enabled (CLUSTER_ENABLED)',
    'host (HOST)',
    `port (PORT)`,
    'workers (CLUSTER_WORKERS)',
  ]);
});

test('in development there are at most two workers, said once, unless CLUSTER_WORKERS says otherwise', async (t) => {
  const few = program(t, asking, { given: { port: await freePort() }, env: { NODE_ENV: 'development' } });
  await few.until(/SERVES.*SERVES.*SERVES/s);
  assert.equal(few.others().length, 2);
  assert.equal(few.stdout.match(/development/g).length, 1, few.stdout);

  const env = { NODE_ENV: 'development', CLUSTER_WORKERS: '3' };
  const many = program(t, asking, { given: { port: await freePort() }, env });
  await many.until(/SERVES.*SERVES.*SERVES.*SERVES/s);
  assert.equal(many.others().length, 3);
});

for (const [manager, env, said] of [
  ['node:cluster', {}, /node:cluster already runs this process/],
  ["PM2's cluster mode", { pm_id: '0' }, /PM2's cluster mode already runs this process/],
]) {
  test(`under ${manager} drover serves in its process and starts none, said once a process`, async (t) => {
    const port = await freePort();
    const outer = program(
      t,
      ({ port, asking, env }) => {
        const cluster = require('node:cluster');
        if (cluster.isPrimary) {
          // PM2 makes its processes this way, with variables of its own.
          cluster.fork(env);
          cluster.fork(env);
        } else {
          new Function('require', 'process', 'console', `(${asking})({ port: ${port} })`)(require, process, console);
        }
      },
      { given: { port, asking: String(asking), env } },
    );
    await outer.untilMany(2, /SERVES/);
    await outer.untilMany(2, said);
    assert.equal(outer.others().length, 2);
    assert.equal(outer.output.match(new RegExp(said, 'g')).length, 2, outer.output);
    const pids = new Set();
    // Under Bun the kernel chooses the process.
    for (let visit = 0; visit < (isBun ? 60 : 6); visit += 1) pids.add((await request(port)).json().pid);
    assert.deepEqual([...pids].sort(), outer.others().sort());
  });
}

test('the variables of a worker do not make one of a process that drover did not spawn', async (t) => {
  const { server, port } = await alone(t, {
    CLUSTER_ENABLED: 'false',
    CLUSTER_WORKER: 'true',
    WORKER_ID: '0',
    NODE_APP_INSTANCE: '0',
    DROVER_CHANNEL: '1',
  });
  const { isWorker, pid } = (await request(port)).json();
  assert.deepEqual([isWorker, pid], [false, server.pid]);
});

test('without a cluster SIGTERM is Node’s own', async (t) => {
  const { server } = await alone(t, { NODE_ENV: 'test' });
  server.signal('SIGTERM');
  assert.deepEqual(await server.exit, { code: null, signal: 'SIGTERM' });
});

/** Applications of one process, each with a port and a hook; /slow of the first takes longest, /never for ever. */
function hooked({ ports, config, hangs }) {
  const { createServer } = require('drover');
  ports.forEach((port, number) => {
    const app = createServer({ cluster: { enabled: false, config } });
    app.get('/never', () => console.log('ASKED'));
    app.get('/slow', (_, response) => {
      console.log(`ASKED ${number}`);
      setTimeout(() => {
        console.log(`ANSWERED ${number}`);
        response.send('slow');
      }, 300 * (ports.length - number));
    });
    app.onShutdown(() => {
      console.log(`HOOK ${number}`);
      return hangs ? new Promise(() => setInterval(() => {}, 1000)) : undefined;
    });
    app.start(port, '127.0.0.1').then(() => console.log(`SERVES ${number}`));
  });
}

test('two applications with hooks in one process both stop in order at a signal', async (t) => {
  const ports = [await freePort(), await freePort()];
  const server = program(t, hooked, { given: { ports } });
  await server.until(/SERVES[^]*SERVES/);
  const answers = ports.map((port) => request(port, { path: '/slow' }));
  await server.until(/ASKED[^]*ASKED/);
  server.signal('SIGTERM');
  assert.deepEqual(
    (await Promise.all(answers)).map(({ body }) => body),
    ['slow', 'slow'],
  );
  assert.deepEqual(await server.exit, { code: 0, signal: null });
  assert.match(server.stdout, /ANSWERED 0[^]*HOOK 0/);
  assert.match(server.stdout, /ANSWERED 1[^]*HOOK 1/, 'the hooks of one run when that one is done');
});

for (const [what, path, hangs] of [
  ['a request', '/never', false],
  ['a hook', undefined, true],
]) {
  test(`without a cluster too a stop ends at gracefulShutdownTimeout, when ${what} does not`, async (t) => {
    const ports = [await freePort()];
    const config = { processManagement: { gracefulShutdownTimeout: 700 } };
    const server = program(t, hooked, { given: { ports, config, hangs } });
    await server.until(/SERVES/);
    const asking = path ? assert.rejects(request(ports[0], { path }), { code: 'ECONNRESET' }) : undefined;
    if (path) await server.until(/ASKED/);
    const since = performance.now();
    server.signal('SIGTERM');
    assert.deepEqual(await server.exit, { code: 0, signal: null });
    const time = performance.now() - since;
    assert.ok(time > 600 && time < 5000, `${time} ms`);
    await asking;
  });
}

test('without a cluster too a second signal ends it at once', async (t) => {
  const ports = [await freePort()];
  const server = program(t, hooked, { given: { ports, hangs: true } });
  await server.until(/SERVES/);
  server.signal('SIGTERM');
  await server.until(/HOOK/);
  // Within half a second it would be the same key press, passed on by npm.
  await new Promise((resolve) => setTimeout(resolve, 700));
  const since = performance.now();
  server.signal('SIGTERM');
  assert.deepEqual(await server.exit, { code: 0, signal: null });
  assert.ok(performance.now() - since < 10_000, 'gracefulShutdownTimeout is 30 seconds');
});
