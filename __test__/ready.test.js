'use strict';

// When a worker is ready: it listens, it says so, or its script has loaded.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { freePort } = require('./helpers/http');
const { program, write } = require('./helpers/program');
const { printed } = require('./helpers/runtime');

/** Runs a worker's script with one kind of readiness; `STARTED` comes when drover counts it as ready. */
function managed({ exec, ready, config }) {
  const { ClusterManager } = require('drover');
  const manager = new ClusterManager({ workers: 1, exec, ...config, processManagement: { ready, startupTimeout: 20_000 } });
  manager.start().then(() => console.log('STARTED'));
}

function start(t, ready, worker, { name = 'worker.js', exec = write(t, worker, { name }), config, ...options } = {}) {
  return program(t, managed, { given: { exec, ready, config }, ...options });
}

/**
 * The worker says `before`, and drover then that it is ready, and starts. (Of what a worker writes and of what drover then
 * says of it the log keeps the order; the primary's own STARTED comes another way.)
 */
async function inOrder(cluster, before) {
  await cluster.until(new RegExp(`^${before}$[^]*"event":"worker:ready","worker":"0"`, 'm'));
  await cluster.until(/^STARTED$/m);
}

test("ready: 'message' needs process.send('ready'); listening is not enough", async (t) => {
  const cluster = start(t, 'message', () => {
    const server = require('node:http').createServer();
    server.listen(0, '127.0.0.1', () => {
      console.log('LISTENS');
      setTimeout(() => {
        console.log('SENDS');
        process.send('ready');
      }, 300);
    });
  });
  await inOrder(cluster, 'LISTENS$[^]*^SENDS');
});

test("process.send('ready') calls back, and other messages do not make a worker ready", async (t) => {
  const cluster = start(t, 'message', () => {
    process.send({ type: 'x' }, (other) => {
      const sent = process.send('ready', (error) => console.log(`TOLD ${other} ${sent} ${error} ${process.connected}`));
    });
    setInterval(() => {}, 1000);
  });
  await cluster.until(/^TOLD null true null true$/m);
  await cluster.until(/^STARTED$/m);
});

test("with ready: 'listen' process.send('ready') has no effect", async (t) => {
  const cluster = start(t, 'listen', () => {
    process.send('ready');
    setTimeout(() => {
      console.log('LISTENS SOON');
      require('node:http').createServer().listen(0, '127.0.0.1');
    }, 300);
  });
  await inOrder(cluster, 'LISTENS SOON');
});

test("ready: 'boot' is the end of a CommonJS script", async (t) => {
  const cluster = start(t, 'boot', () => {
    const until = Date.now() + 200;
    while (Date.now() < until);
    setInterval(() => {}, 1000);
    console.log('LOADED');
  });
  await inOrder(cluster, 'LOADED');
  assert.equal(cluster.stdout.match(/LOADED/g).length, 1, 'the script runs once');
});

test("ready: 'boot' waits for an ES module's top-level await", async (t) => {
  const source = `
    import { setTimeout } from 'node:timers/promises';
    console.log('BEGINS');
    await setTimeout(300);
    setInterval(() => {}, 1000);
    console.log('LOADED');
  `;
  const cluster = start(t, 'boot', source, { name: 'worker.mjs' });
  await inOrder(cluster, 'BEGINS$[^]*^LOADED');
  assert.equal(cluster.stdout.match(/LOADED/g).length, 1, 'the module runs once');
});

test("ready: 'boot' finds a script that is named without its extension, or by a link", async (t) => {
  const worker = () => {
    setInterval(() => {}, 1000);
    console.log('LOADED');
  };
  const exec = write(t, worker, { name: 'worker.js' });
  const bare = start(t, 'boot', null, { exec: exec.replace(/\.js$/, '') });
  await inOrder(bare, 'LOADED');
  assert.equal(bare.stdout.match(/LOADED/g).length, 1);

  const link = path.join(path.dirname(exec), 'link.js');
  require('node:fs').symlinkSync(exec, link);
  const linked = start(t, 'boot', null, { exec: link });
  await inOrder(linked, 'LOADED');
  assert.equal(linked.stdout.match(/LOADED/g).length, 1);
});

test("with ready: 'boot' a module that throws fails the start with its error", async (t) => {
  const source = `
    await new Promise((resolve) => setTimeout(resolve, 50));
    throw new Error('no queue to consume');
  `;
  const exec = write(t, source, { name: 'worker.mjs' });
  const cluster = program(
    t,
    ({ exec }) => {
      const { ClusterManager } = require('drover');
      const processManagement = { ready: 'boot', maxRestarts: 0 };
      new ClusterManager({ workers: 1, exec, processManagement }).start();
    },
    { given: { exec } },
  );
  assert.equal((await cluster.exit).code, 1);
  assert.equal(cluster.stderr.match(new RegExp(printed('Error', 'no queue to consume'), 'g')).length, 2, cluster.stderr);
});

test("a queue consumer's own SIGTERM handler ends it when the cluster stops", async (t) => {
  const cluster = start(t, 'boot', () => {
    const consuming = setInterval(() => {}, 1000);
    process.on('SIGTERM', () => {
      console.log('LAST MESSAGE DONE');
      clearInterval(consuming);
    });
  });
  await cluster.until(/STARTED/);
  cluster.signal('SIGTERM');
  await cluster.until(/LAST MESSAGE DONE/);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  assert.equal(cluster.stdout.match(/LAST MESSAGE DONE/g).length, 1);
  await cluster.gone();
});

test('arguments, environment and working directory of a worker can be set', async (t) => {
  const port = await freePort();
  const exec = write(t, () => {
    const { PORT, COLOUR } = process.env;
    console.log(`RUNS ${JSON.stringify({ args: process.argv.slice(2), PORT, COLOUR, cwd: process.cwd(), execArgv: process.execArgv })}`);
    require('node:http').createServer().listen(PORT, '127.0.0.1');
  });
  const cwd = path.dirname(exec);
  const cluster = program(
    t,
    ({ exec, cwd, port }) => {
      const { ClusterManager } = require('drover');
      const config = { workers: 1, exec, args: ['--fast'], env: { COLOUR: 'red' }, cwd, execArgv: ['--no-warnings'] };
      new ClusterManager(config, port).start().then(() => console.log('STARTED'));
    },
    { given: { exec, cwd, port } },
  );
  await cluster.until(/STARTED/);
  const [, told] = await cluster.until(/RUNS (.*)/);
  assert.deepEqual(JSON.parse(told), {
    args: ['--fast'],
    PORT: String(port),
    COLOUR: 'red',
    cwd,
    execArgv: ['--no-warnings'],
  });
});
