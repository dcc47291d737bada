'use strict';

// A second copy of the package in a process: a worker is one worker, whichever copy its program loads. In a primary two
// copies are two managers.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { folder, write } = require('./helpers/program');
const { run } = require('./helpers/run');

const root = path.join(__dirname, '..');

/** Another copy of the package beside a program, by that name. */
function copyOf(script, name, version) {
  const to = path.join(path.dirname(script), 'node_modules', name);
  fs.mkdirSync(to);
  const addon = fs.readdirSync(root).filter((file) => /^drover\..*\.node$/.test(file));
  for (const part of ['index.js', 'binding.js', 'lib', ...addon]) fs.cpSync(path.join(root, part), path.join(to, part), { recursive: true });
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(to, 'node_modules'));
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  fs.writeFileSync(path.join(to, 'package.json'), JSON.stringify({ ...manifest, name, version: version ?? manifest.version }));
}

/** Serves by the copy that `other` names in a worker, and by `drover` in the primary. */
function serves({ port, other }) {
  const isWorker = process.env.CLUSTER_WORKER === 'true';
  const load = {
    copy: () => require('copy'),
    purged() {
      const first = require('drover');
      for (const file of Object.keys(require.cache)) delete require.cache[file];
      const second = require('drover');
      console.log(`SAME ${first === second}`);
      return second;
    },
    'purged before'() {
      for (const file of Object.keys(require.cache)) delete require.cache[file];
      return require('drover');
    },
  };
  const drover = isWorker ? load[other]() : require('drover');
  const app = drover.createServer({
    app: (_, response) => response.end(JSON.stringify({ pid: process.pid, id: app.workerId, isWorker: app.isWorker })),
    cluster: { enabled: true, config: { workers: 1 } },
  });
  app.onShutdown(() => console.log('HOOK RUN'));
  app.waitUntil?.(new Promise((resolve) => setTimeout(resolve, 10)).then(() => console.log('WAITED FOR')));
  app.start(port, '127.0.0.1').then(async () => {
    if (!isWorker) return console.log('STARTED');
    const manager = new drover.ClusterManager({ workers: 4 });
    await manager.start();
    const error = await app.sendToWorker('7', 'x').catch((reason) => reason);
    console.log(`WORKERS ${app.getAllWorkers().length} ${manager.getWorkers().length} ${error instanceof drover.ClusterError}`);
  });
}

for (const other of ['copy', 'purged', 'purged before']) {
  test(`a second copy of the package in a worker finds that worker: ${other}`, async (t) => {
    const port = await freePort();
    const script = write(t, serves, { given: { port, other } });
    copyOf(script, 'copy');
    const started = run(t, script);
    await started.until(/STARTED/);
    const answer = (await request(port)).json();
    assert.deepEqual({ ...answer, pid: 0 }, { pid: 0, id: '0', isWorker: true });
    assert.deepEqual(started.others(), [answer.pid], 'the primary’s worker is the only process');
    // Before any copy was loaded there are no classes that a new one could share.
    await started.until(other === 'purged before' ? /WORKERS 1 1/ : /WORKERS 1 1 true/);
    if (other === 'purged') await started.until(/SAME true/);
    started.signal('SIGTERM');
    assert.deepEqual(await started.exit, { code: 0, signal: null });
    assert.match(started.output, /HOOK RUN/, 'its drain runs the hooks given to any copy');
  });
}

test('an ES module gets every name from the copy that is there', async (t) => {
  const source = `
    import * as first from 'drover';
    import * as second from 'copy';
    import { createServer, ClusterManager } from 'copy/index.js';
    const names = Object.keys(first).filter((name) => first[name] === second[name]);
    console.log('NAMES', Object.keys(first).length - names.length, createServer === first.createServer, typeof ClusterManager);
    if (!process.env.CLUSTER_WORKER) await new first.ClusterManager({ workers: 1, processManagement: { ready: 'boot' } }).start();
    else setInterval(() => {}, 1000);
  `;
  const script = write(t, source, { name: 'server.mjs' });
  copyOf(script, 'copy');
  const manifest = path.join(path.dirname(script), 'node_modules', 'copy', 'package.json');
  fs.writeFileSync(manifest, JSON.stringify({ ...JSON.parse(fs.readFileSync(manifest, 'utf8')), exports: undefined }));
  const started = run(t, script);
  await started.until(/NAMES 0 true function/);
});

test('a copy of another version fails with a clear error and starts no cluster inside the worker', async (t) => {
  const script = write(t, () => {
    const { createServer } = require(process.env.CLUSTER_WORKER ? 'copy' : 'drover');
    const app = createServer({ app: () => {}, cluster: { enabled: true, config: { workers: 1 } } });
    app.start(0, '127.0.0.1').catch((error) => console.log(`FAILED ${error.code} ${error.message}`));
  });
  copyOf(script, 'copy', '0.0.1');
  const started = run(t, script);
  const { code } = await started.exit;
  assert.notEqual(code, 0);
  assert.match(started.output, /FAILED VERSION_MISMATCH This process is a worker of drover 0\.\S+ \(.*\), and its program loads drover 0\.0\.1 \(.*copy\): /);
});

test('copies of any version in a primary are managers of their own', async (t) => {
  const [first, second] = [await freePort(), await freePort()];
  const given = { ports: [first, second] };
  const script = write(
    t,
    ({ ports }) => {
      const names = ['drover', 'copy'];
      if (process.env.CLUSTER_WORKER) {
        return require('node:http').createServer((_, response) => response.end('served')).listen(Number(process.env.PORT), '127.0.0.1');
      }
      const managers = names.map((name, at) => new (require(name).ClusterManager)({ workers: 1, monitoring: { port: 0 } }, ports[at]));
      return Promise.all(managers.map((manager) => manager.start())).then(() => console.log('BOTH STARTED'));
    },
    { given },
  );
  copyOf(script, 'copy', '0.0.1');
  const started = run(t, script);
  await started.until(/BOTH STARTED/);
  for (const port of given.ports) assert.equal((await request(port)).body, 'served');
});

test('a process that is not a worker keeps no state for other copies', async (t) => {
  const place = folder(t);
  fs.writeFileSync(path.join(place, 'a.js'), "require('drover'); console.log(`KEPT ${process[Symbol.for('drover.worker')]}`);");
  await run(t, path.join(place, 'a.js')).until(/KEPT undefined/);
});
