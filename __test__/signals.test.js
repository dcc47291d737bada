'use strict';

// Signals: the primary leads the stop, in order, whoever else is told; what is under way is finished; the
// user's own handlers replace drover's.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { failureCluster, program, write } = require('./helpers/program');

const HURRIED = { code: 0, signal: null };

async function begun(port, path) {
  const outgoing = http.get({ port, host: '127.0.0.1', path, agent: false });
  const [response] = await once(outgoing, 'response');
  const whole = new Promise((resolve, reject) => {
    response.once('error', reject);
    response.once('end', () => resolve(response.statusCode));
  });
  // Whoever looks at it hears of it.
  whole.catch(() => {});
  response.resume();
  return { whole };
}

async function serving(t, { config, env } = {}) {
  const port = await freePort();
  const cluster = failureCluster(t, { port, config, env });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} stops the cluster gracefully: pending requests are answered, exit code 0`, async (t) => {
    const { cluster, port } = await serving(t);
    const slow = [await begun(port, '/slow?ms=800'), await begun(port, '/slow?ms=800')];
    cluster.signal(signal);
    assert.deepEqual(await Promise.all(slow.map(({ whole }) => whole)), [200, 200]);
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
  });

  test(`a second ${signal} ends it at once`, async (t) => {
    const { cluster, port } = await serving(t);
    const { whole } = await begun(port, '/slow?ms=60000');
    cluster.signal(signal);
    await cluster.eventMany(2, 'worker:draining');
    // Within half a second it would be the same key press, passed on by npm.
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.ok(cluster.isAlive);
    cluster.signal(signal);
    assert.deepEqual(await cluster.exit, HURRIED, cluster.output);
    await assert.rejects(whole, { code: 'ECONNRESET' });
    await cluster.gone();
  });
}

test('SIGINT ends a cluster at once in development', async (t) => {
  const { cluster, port } = await serving(t, { env: { NODE_ENV: 'development' } });
  const { whole } = await begun(port, '/slow?ms=60000');
  cluster.signal('SIGINT');
  assert.deepEqual(await cluster.exit, HURRIED, cluster.output);
  await assert.rejects(whole, { code: 'ECONNRESET' });
  await cluster.gone();
});

test('connections that are open after gracefulShutdownTimeout are destroyed', async (t) => {
  const { cluster, port } = await serving(t, {
    config: { processManagement: { gracefulShutdownTimeout: 1000, killTimeout: 400 } },
  });
  const { whole } = await begun(port, '/slow?ms=60000');
  const since = performance.now();
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  assert.ok(performance.now() - since >= 500, 'not before the time to drain is over');
  await assert.rejects(whole, { code: 'ECONNRESET' });
  await cluster.gone();
});

test('a worker in a busy loop is killed at the end of a stop', async (t) => {
  const { cluster, port } = await serving(t, {
    config: { processManagement: { gracefulShutdownTimeout: 1000, killTimeout: 400 } },
  });
  await request(port, { path: '/spin' });
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.event('worker:exit', { reason: 'deadline', signal: 'SIGKILL' });
  await cluster.gone();
});

test('SIGTERM while the workers are starting leaves no process behind, exit code 0', async (t) => {
  for (const at of ['BEGAN', 'BOOTED']) {
    const cluster = program(t, () => {
      const { createServer } = require('drover');
      // A worker that does not hear of the stop would outlast this test.
      const processManagement = { gracefulShutdownTimeout: '10m' };
      const app = createServer({ cluster: { enabled: true, config: { workers: 2, processManagement } } });
      app.cluster.on('worker:started', () => console.log('BEGAN'));
      if (app.isWorker) {
        console.log('BOOTED');
        setInterval(() => {}, 1000);
      } else {
        app.start(0, '127.0.0.1').then(() => console.log('STARTED'));
      }
    });
    await cluster.until(new RegExp(at));
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
    assert.doesNotMatch(cluster.stdout, /STARTED/);
  }
});

test('SIGTERM to every process of the cluster at once loses no request', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const { cluster, port } = await serving(t);
    const slow = [await begun(port, '/slow?ms=500'), await begun(port, '/slow?ms=500')];
    // As a service manager does with a control group; the main process often first.
    const all = [cluster.pid, ...cluster.others()];
    assert.equal(all.length, 3);
    for (const pid of round % 2 === 0 ? all : all.reverse()) process.kill(pid, 'SIGTERM');
    assert.deepEqual(await Promise.all(slow.map(({ whole }) => whole)), [200, 200]);
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
    assert.deepEqual(cluster.events('worker:restart'), []);
  }
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  test(`a worker ignores ${signal} while its primary lives`, async (t) => {
    const { cluster, port } = await serving(t);
    const workers = cluster.others();
    for (const pid of workers) process.kill(pid, signal);
    for (let visit = 0; visit < 6; visit += 1) await request(port);
    assert.deepEqual(cluster.others(), workers);
    assert.deepEqual(cluster.deaths, []);
  });
}

/** The documents' own handlers, as they are written there. */
function documented({ port, slow }) {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 2 } } });
  app.get('/', (_, response) => {
    response.write('begun');
    setTimeout(() => response.end(), slow);
  });

  process.on('SIGTERM', async () => {
    console.log('Received SIGTERM, shutting down gracefully');
    await app.stopCluster(true);
    process.exit(0);
  });

  process.on('SIGINT', async () => {
    console.log('Received SIGINT, shutting down gracefully');
    await app.stopCluster(true);
    process.exit(0);
  });

  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  for (const to of ['the primary', 'every process']) {
    test(`the documents' handlers work as written: ${signal} to ${to}`, async (t) => {
      const port = await freePort();
      const cluster = program(t, documented, { given: { port, slow: 800 } });
      await cluster.until(/the cluster is ready/);
      const slow = [await begun(port, '/'), await begun(port, '/')];
      if (to === 'every process') for (const pid of cluster.others()) process.kill(pid, signal);
      cluster.signal(signal);
      assert.deepEqual(await Promise.all(slow.map(({ whole }) => whole)), [200, 200]);
      assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
      const said = cluster.stdout.match(new RegExp(`Received ${signal}, shutting down gracefully`, 'g'));
      assert.equal(said.length, 3, 'once a process');
      await cluster.gone();
      assert.deepEqual([...cluster.events('worker:restart'), ...cluster.deaths], []);
    });
  }
}

test('process.exit in a handler of the program takes precedence', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
      process.once('SIGTERM', () => process.exit(5));
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 5, signal: null });
  await cluster.gone();
});

test('a handler that does nothing keeps the cluster running', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
      // Registered first and for once: gone from the list when drover's own handler would look.
      process.once('SIGTERM', () => console.log('not now'));
      app.get('/', (_, response) => response.send('still here'));
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  await cluster.until(/not now/);
  assert.equal((await request(port)).body, 'still here');
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
});

test('Ctrl-C in a terminal stops the cluster once, in order', async (t) => {
  const port = await freePort();
  const fixture = path.join(__dirname, 'fixtures', 'failure-routes.js');
  // A terminal of its own, whose foreground group gets SIGINT when ^C is typed.
  const typist = write(
    t,
    `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
output = b''
typed = False
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    os.write(1, piece)
    output += piece
    if not typed and b'the cluster is ready' in output:
        typed = True
        os.write(terminal, b'\\x03')
_, status = os.waitpid(pid, 0)
print('STATUS', os.waitstatus_to_exitcode(status), flush=True)
`,
    { name: 'typist.py' },
  );
  const { run } = require('./helpers/run');
  const terminal = run(t, typist, {
    node: 'python3',
    args: [process.execPath, fixture],
    env: { PORT: String(port), CLUSTER_CONFIG: '{"workers":2}', NODE_ENV: undefined },
  });
  const [, status] = await terminal.until(/STATUS (-?\d+)/);
  assert.equal(status, '0', terminal.output);
  assert.equal(terminal.stdout.match(/is finishing its requests/g).length, 2, terminal.output);
  assert.equal(terminal.stdout.match(/has stopped/g).length, 2, terminal.output);
  assert.doesNotMatch(terminal.stdout, /died|is replaced/);
  await terminal.gone();
});
