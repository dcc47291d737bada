'use strict';

// A worker as a child process of Node's: process.connected, process.channel, process.disconnect and what belongs to
// them. What a forked child and a worker of node:cluster do is the control.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program, write } = require('./helpers/program');
const { run } = require('./helpers/run');

/** Ways to run a program in a child, one of it. */
const parents = {
  fork: (t, file) => program(t, ({ file }) => void require('node:child_process').fork(file), { name: 'parent.js', given: { file } }),
  'node:cluster': (t, file) =>
    program(
      t,
      ({ file }) => {
        const cluster = require('node:cluster');
        cluster.setupPrimary({ exec: file });
        cluster.fork();
      },
      { name: 'parent.js', given: { file } },
    ),
  drover: (t, file) => run(t, require.resolve('./fixtures/managed.js'), { args: [file], env: { CLUSTER_CONFIG: '{"workers":1,"processManagement":{"ready":"boot"}}' } }),
};

function everywhere(title, main, check, { names = Object.keys(parents), given } = {}) {
  for (const name of names) {
    test(`${name}: ${title}`, async (t) => check(parents[name](t, write(t, main, { name: 'child.js', given })), name));
  }
}

everywhere(
  'a child is connected and has a channel',
  () => {
    console.log('CHANNEL', process.connected, typeof process.disconnect, typeof process.channel.ref, typeof process.channel.unref);
    console.log('HAS', process.channel.hasRef?.() ?? false);
    process.channel.unref();
    process.channel.ref();
    process.channel.unref();
    setTimeout(() => process.exit(0), 100);
  },
  (parent) => parent.until(/CHANNEL true function function function/),
);

everywhere(
  "disconnect: connected is false at once, 'disconnect' comes once, and the channel is closed",
  () => {
    let times = 0;
    process.on('disconnect', () => {
      times += 1;
      console.log('DISCONNECTED', times, process.connected);
    });
    process.on('error', ({ code }) => console.log('ERROR', code));
    setTimeout(() => {
      process.disconnect();
      console.log('NOW', process.connected, process.channel ?? 'no channel');
      process.disconnect();
      process.send('too late', ({ code }) => console.log('SENT', code));
    }, 50);
  },
  async (parent) => {
    await parent.until(/DISCONNECTED 1 false/);
    await parent.until(/NOW false no channel/);
    await parent.until(/ERROR ERR_IPC_DISCONNECTED/);
    await parent.until(/SENT ERR_IPC_CHANNEL_CLOSED/);
    assert.doesNotMatch(parent.stdout, /DISCONNECTED 2/);
  },
  // In a worker of node:cluster an 'error' of the process is one of its worker object too, which nobody hears here.
  { names: ['fork', 'drover'] },
);

everywhere(
  'who waits for messages lives until the channel is let go',
  () => {
    process.on('message', () => {});
    setTimeout(() => {
      console.log('ALIVE');
      process.channel.unref();
    }, 300);
    process.on('exit', () => console.log('ENDED'));
  },
  (parent) => parent.until(/ALIVE\n[^]*ENDED/),
  { names: ['fork', 'drover'] },
);

everywhere(
  "who waits for 'disconnect' lives until nobody listens",
  () => {
    const listener = () => {};
    process.on('disconnect', listener);
    setTimeout(() => {
      console.log('ALIVE');
      process.removeListener('disconnect', listener);
    }, 300).unref();
    process.on('exit', () => console.log('ENDED'));
  },
  (parent) => parent.until(/ALIVE\n[^]*ENDED/),
  { names: ['fork', 'drover'] },
);

test('process.disconnect() in a worker drains it: pending requests are answered, and it is replaced', async (t) => {
  const main = ({ port }) => {
    if (!process.env.CLUSTER_WORKER) {
      const { ClusterManager } = require('drover');
      return void new ClusterManager({ workers: 1 }).start().then(() => console.log('the cluster is ready'));
    }
    process.on('disconnect', () => console.log('DISCONNECTED'));
    process.on('exit', (code) => console.log('EXIT', code));
    const server = require('node:http').createServer((request, response) => {
      if (request.url !== '/slow') return response.end(`${process.pid}`);
      process.disconnect();
      setTimeout(() => response.end(`${process.pid}`, () => console.log('ANSWERED')), 400);
    });
    server.listen(port, '127.0.0.1');
  };
  const port = await freePort();
  const cluster = program(t, main, { given: { port } });
  await cluster.until(/the cluster is ready/);
  const { body: before } = await request(port);
  const slow = request(port, { path: '/slow' });
  assert.equal((await slow).body, before);
  await cluster.until(/ANSWERED\n[^]*DISCONNECTED\n[^]*EXIT 0/);
  assert.notEqual((await request(port)).body, before);
  const { reason, exitCode } = await cluster.event('worker:exit', { worker: '0' });
  assert.deepEqual([reason, exitCode], ['stopped', 0]);
});
