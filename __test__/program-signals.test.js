'use strict';

// Whose a signal is: the program's when it handles it, drover's when others only listen. And what developers' tools do
// with signals.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { folder, program, write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');

const modules = path.join(__dirname, '..', 'node_modules');

/** A cluster whose program is `setUp`, which gets { app, packages }. */
function clustered({ port, packages, setUp, config }) {
  const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1, ...config } } });
  app.get('/', (_, response) => response.send(`${process.pid}`));
  app.get('/events', (_, response) => response.type('text/event-stream').write('data: hello\n\n'));
  new Function('app', 'packages', 'require', setUp)(app, packages, require);
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function serving(t, setUp = '', { config, env } = {}) {
  const port = await freePort();
  const packages = { 3: path.join(modules, 'signal-exit-3'), 4: path.join(modules, 'signal-exit') };
  const cluster = program(t, clustered, { given: { port, packages, setUp, config }, env });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

const ended = async (cluster) => {
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
};

/** A stream of events that is open; `closed` resolves at its end. */
async function openEvents(t, port) {
  const outgoing = http.get({ port, host: '127.0.0.1', path: '/events', agent: false });
  t.after(() => outgoing.destroy());
  const [response] = await once(outgoing, 'response');
  response.on('error', () => {});
  const closed = new Promise((resolve) => response.once('close', resolve));
  await once(response, 'data');
  return { closed };
}

const loads = {
  'signal-exit 3': "require(packages[3])(() => console.log('LEFT'));",
  'signal-exit 4': "require(packages[4]).onExit(() => console.log('LEFT'));",
  'signal-exit 3 and 4, and a second copy': `
    require(packages[3])(() => console.log('LEFT'));
    require(packages[4]).onExit(() => {});
    delete require.cache[require.resolve(packages[4])];
    require(packages[4]).onExit(() => {});`,
};

for (const [what, setUp] of Object.entries(loads)) {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${what} in the program: ${signal} stops the cluster, and its listener is called at the end`, async (t) => {
      const { cluster } = await serving(t, setUp);
      cluster.signal(signal);
      await ended(cluster);
      assert.equal(cluster.events('worker:exit', { worker: '0', reason: 'stopped', exitCode: 0 }).length, 1, cluster.output);
      assert.equal(cluster.stdout.match(/LEFT/g).length, 2, 'in both processes');
    });
  }
  test(`${what} beside a handler of the program's: the handler wins`, async (t) => {
    const { cluster } = await serving(t, `${setUp} if (app.isPrimary) process.on('SIGTERM', () => process.exit(5));`);
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 5, signal: null });
  });
  test(`${what} in the program: SIGUSR2 rolls`, async (t) => {
    const { cluster } = await serving(t, setUp);
    cluster.signal('SIGUSR2');
    await cluster.event('command:done', { command: 'restartCluster' });
  });
}

// As OpenTelemetry's `register` does, which is required before the program, in the primary too.
const flusher = `
  const flush = () => new Promise((resolve) => setTimeout(resolve, 300)).then(() => console.log('FLUSHED'));
  process.on('SIGTERM', flush);
  process.once('beforeExit', flush);`;

function required(t, text) {
  const file = path.join(folder(t), 'required.js');
  fs.writeFileSync(file, text);
  return ['--require', file];
}

test('a handler that also listens to beforeExit leaves the stop to drover, and completes its work before the exit', async (t) => {
  const port = await freePort();
  const cluster = program(t, clustered, { given: { port, setUp: '' }, execArgv: required(t, flusher) });
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  await ended(cluster);
  assert.equal(cluster.events('worker:exit', { worker: '0', reason: 'stopped', exitCode: 0 }).length, 1, cluster.output);
  assert.match(cluster.stdout.slice(cluster.stdout.indexOf('"worker:exit"')), /FLUSHED/, 'in the primary, after its workers');
  assert.match(cluster.raw, /"worker":"0"[^\n]*FLUSHED/, 'in the worker');
  assert.doesNotMatch(cluster.output, /was left to the program/);
});

test('a handler of only SIGTERM takes precedence over one that also listens to beforeExit', async (t) => {
  const port = await freePort();
  const setUp = "if (app.isPrimary) process.on('SIGTERM', () => process.exit(5));";
  const cluster = program(t, clustered, { given: { port, setUp }, execArgv: required(t, flusher) });
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 5, signal: null });
});

test('work of such a handler that never ends delays the exit by lingerTimeout', async (t) => {
  const port = await freePort();
  const config = { processManagement: { lingerTimeout: 300 } };
  const endless = `
    const flush = () => setInterval(() => {}, 60_000);
    process.on('SIGTERM', flush);
    process.once('beforeExit', flush);`;
  const cluster = program(t, clustered, { given: { port, setUp: '', config }, execArgv: required(t, endless) });
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGTERM');
  await ended(cluster);
});

test('without a cluster such a handler leaves the stop to the hooks, and completes its work before the exit', async (t) => {
  const main = ({ port }) => {
    const app = require('drover').createServer({ cluster: { enabled: false } });
    app.onShutdown(() => console.log('CLEANED'));
    app.start(port, '127.0.0.1').then(() => console.log('it serves'));
  };
  const process = program(t, main, { given: { port: await freePort() }, execArgv: required(t, flusher) });
  await process.until(/it serves/);
  process.signal('SIGTERM');
  assert.deepEqual(await process.exit, { code: 0, signal: null }, process.output);
  assert.match(process.stdout, /CLEANED[^]*FLUSHED/);
});

test('two managers of one process stop together, and the process ends when both have', async (t) => {
  const cluster = program(t, () => {
    const { ClusterManager } = require('drover');
    if (process.env.CLUSTER_WORKER) {
      require('node:http').createServer().listen(0, '127.0.0.1');
      process.on('SIGTERM', () => setTimeout(() => process.exit(0), process.env.SLOW ? 500 : 0));
      return;
    }
    const managers = [{}, { env: { SLOW: 'yes' } }].map((more) => new ClusterManager({ workers: 1, monitoring: { port: false }, ...more }));
    for (const manager of managers) manager.on('cluster:stopped', () => console.log('STOPPED'));
    Promise.all(managers.map((manager) => manager.start())).then(() => console.log('both serve'));
  });
  await cluster.until(/both serve/);
  cluster.signal('SIGTERM');
  await ended(cluster);
  assert.equal(cluster.stdout.match(/STOPPED/g).length, 2, cluster.output);
});

test('two managers of two copies of the package stop together', async (t) => {
  const copy = path.join(fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'drover-copy-')), 'drover');
  t.after(() => fs.rmSync(path.dirname(copy), { recursive: true, force: true }));
  const root = path.join(__dirname, '..');
  fs.mkdirSync(copy);
  for (const name of ['index.js', 'binding.js', 'package.json', ...fs.readdirSync(root).filter((file) => file.endsWith('.node'))]) {
    fs.copyFileSync(path.join(root, name), path.join(copy, name));
  }
  fs.cpSync(path.join(root, 'lib'), path.join(copy, 'lib'), { recursive: true });
  const main = ({ copy }) => {
    if (process.env.CLUSTER_WORKER) return void require('node:http').createServer().listen(0, '127.0.0.1');
    const managers = ['drover', copy].map((name) => new (require(name).ClusterManager)({ workers: 1, monitoring: { port: false } }));
    for (const manager of managers) manager.on('cluster:stopped', () => console.log('STOPPED'));
    Promise.all(managers.map((manager) => manager.start())).then(() => console.log('both serve'));
  };
  const cluster = program(t, main, { given: { copy } });
  await cluster.until(/both serve/);
  cluster.signal('SIGTERM');
  await ended(cluster);
  assert.equal(cluster.stdout.match(/STOPPED/g).length, 2, cluster.output);
});

test('a handler that neither stops the cluster nor exits is logged once per signal', async (t) => {
  const setUp = "if (app.isPrimary) process.on('SIGTERM', () => console.log('not now'));";
  const config = { processManagement: { gracefulShutdownTimeout: 2000, killTimeout: 300 } };
  const { cluster, port } = await serving(t, setUp, { config });
  cluster.signal('SIGTERM');
  await cluster.until(/SIGTERM was left to the program's own handler, which has neither stopped the cluster nor exited in 300 ms/);
  assert.equal((await request(port)).status, 200);
  cluster.signal('SIGINT');
  await ended(cluster);
});

test('a handler that stops the cluster is not logged', async (t) => {
  const setUp = `
    if (app.isPrimary) process.on('SIGTERM', () => app.stopCluster().then(() => setTimeout(() => process.exit(0), 600)));`;
  const config = { processManagement: { gracefulShutdownTimeout: 2000, killTimeout: 300 } };
  const { cluster } = await serving(t, setUp, { config });
  cluster.signal('SIGTERM');
  await ended(cluster);
  assert.doesNotMatch(cluster.output, /was left to the program/);
});

// What programs use to stop in order, as their users write it.

const stoppers = {
  '@godaddy/terminus': `
    const { createTerminus } = require(packages.terminus);
    createTerminus(server, { signals: ['SIGTERM'], timeout: 10_000, onSignal: async () => console.log('CLEANED'), logger: console.error });`,
  'http-graceful-shutdown': `
    require(packages.graceful)(server, { timeout: 10_000, onShutdown: async () => console.log('CLEANED') });`,
  'server.close() with a callback': `
    process.on('SIGTERM', () => server.close((error) => (console.log(error ? error.code : 'CLEANED'), process.exit(error ? 1 : 0))));`,
};

for (const [what, source] of Object.entries(stoppers)) {
  test(`${what} in a worker cleans up and leaves with 0, in a roll and in a stop`, async (t) => {
    const packages = { terminus: path.join(modules, '@godaddy/terminus'), graceful: path.join(modules, 'http-graceful-shutdown') };
    const main = ({ port, packages, source }) => {
      if (!process.env.CLUSTER_WORKER) {
        const { ClusterManager } = require('drover');
        return void new ClusterManager({ workers: 1 }).start().then(() => console.log('the cluster is ready'));
      }
      const server = require('node:http').createServer((_, response) => response.end('served'));
      new Function('server', 'packages', 'require', source)(server, packages, require);
      server.listen(port, '127.0.0.1');
    };
    const port = await freePort();
    const cluster = program(t, main, { given: { port, packages, source } });
    await cluster.until(/the cluster is ready/);
    assert.equal((await request(port)).body, 'served');
    cluster.signal('SIGUSR2');
    await cluster.event('command:done', { command: 'restartCluster' });
    assert.equal(cluster.stdout.match(/CLEANED/g)?.length, 1, cluster.output);
    cluster.signal('SIGTERM');
    await ended(cluster);
    assert.equal(cluster.stdout.match(/CLEANED/g).length, 2, cluster.output);
    assert.deepEqual(cluster.events('worker:exit').map(({ reason, exitCode }) => [reason, exitCode]), [['stopped', 0], ['stopped', 0]], cluster.output);
  });
}

// Developers.

const HOUR = { processManagement: { gracefulShutdownTimeout: '1h', lingerTimeout: '1h' } };

test('in development SIGTERM waits at most a second for an event stream', async (t) => {
  const { cluster, port } = await serving(t, '', { config: HOUR, env: { NODE_ENV: 'development' } });
  const { closed } = await openEvents(t, port);
  cluster.signal('SIGTERM');
  await ended(cluster);
  await closed;
});

test('in development a process without a cluster that has hooks ends within a second, too', async (t) => {
  const main = ({ port }) => {
    const processManagement = { gracefulShutdownTimeout: '1h' };
    const app = require('drover').createServer({ cluster: { enabled: false, config: { processManagement } } });
    app.get('/events', (_, response) => response.type('text/event-stream').write('data: hello\n\n'));
    app.onShutdown(() => {});
    app.start(port, '127.0.0.1').then(() => console.log('it serves'));
  };
  const port = await freePort();
  const process = program(t, main, { given: { port }, env: { NODE_ENV: 'development' } });
  await process.until(/it serves/);
  await openEvents(t, port);
  process.signal('SIGTERM');
  assert.deepEqual(await process.exit, { code: 0, signal: null }, process.output);
});

test('in development SIGUSR2 stops', async (t) => {
  const { cluster, port } = await serving(t, '', { config: HOUR, env: { NODE_ENV: 'development' } });
  await openEvents(t, port);
  cluster.signal('SIGUSR2');
  await ended(cluster);
  assert.doesNotMatch(cluster.output, /restartCluster/);
});

for (const [env, outcome] of [
  [undefined, 'stops'],
  ['staging', 'stops'],
  ['production', 'rolls again'],
]) {
  test(`NODE_ENV ${env ?? 'unset'}: a second SIGUSR2 soon after the first ${outcome}`, async (t) => {
    const { cluster } = await serving(t, '', { env: { NODE_ENV: env } });
    cluster.signal('SIGUSR2');
    await cluster.event('command:done', { command: 'restartCluster' });
    cluster.signal('SIGUSR2');
    if (outcome === 'stops') return ended(cluster);
    await cluster.eventMany(2, 'command:done', { command: 'restartCluster' });
  });
}

test('a second SIGUSR2 during the roll stops', async (t) => {
  const { cluster } = await serving(t, '', { env: { NODE_ENV: undefined }, config: { workers: 3 } });
  cluster.signal('SIGUSR2');
  await cluster.event('worker:draining');
  cluster.signal('SIGUSR2');
  await ended(cluster);
});

/** A program for a watcher: each start prints its pid; a stream of events is held open. */
function watched({ port }) {
  const processManagement = { gracefulShutdownTimeout: '1h', lingerTimeout: '1h' };
  const config = { workers: 1, processManagement, monitoring: { port: false } };
  const app = require('drover').createServer({ cluster: { enabled: true, config } });
  app.get('/events', (_, response) => response.type('text/event-stream').write('data: hello\n\n'));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log(`ready ${process.pid}`));
}

for (const [watcher, execArgv] of [
  ['node --watch', () => ['--watch']],
  ['nodemon', (file) => [path.join(modules, 'nodemon', 'bin', 'nodemon.js'), '--quiet', '--watch', path.dirname(file), '--ext', 'js']],
]) {
  test(`${watcher}, NODE_ENV unset, restarts the cluster with each save, whatever is open`, async (t) => {
    const port = await freePort();
    const file = write(t, watched, { given: { port } });
    const tool = run(t, file, { execArgv: execArgv(file), env: { NODE_ENV: undefined }, cwd: path.dirname(file) });
    const [, first] = await tool.until(/ready (\d+)/);
    const { closed } = await openEvents(t, port);
    fs.appendFileSync(file, '// saved\n');
    await closed;
    const pids = await tool.untilMany(2, /ready (\d+)/);
    // Bun starts the program anew in the same process.
    if (!isBun || watcher === 'nodemon') assert.notEqual(pids[1][1], first);
  });
}
