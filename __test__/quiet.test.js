'use strict';

// What is no trouble is no warning: one process would not have said it either. Where a line helps it is there once, as
// information.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { noNetworks, ownNetwork, program } = require('./helpers/program');
const { runtime } = require('./helpers/runtime');

/** The log's own records. */
const records = ({ raw }) => raw.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));

/** Serves, and does what a test asks for in each worker before. */
function serving({ port, config, inPrimary, inWorker }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const act = { ask: (app) => app.registerHandler('asked', () => {}), send: () => process.send({ progress: 1 }) };
  const server = http.createServer((request, response) => {
    if (request.url === '/events') return response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    if (request.url === '/poll') return;
    if (request.url === '/slow') return setTimeout(() => response.end('late'), 300);
    if (request.url === '/colours') console.log('\u001b[31mred\u001b[39m and \u001b[1mbold\u001b[22m');
    response.end('served');
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, ...config } } });
  const acts = app.isPrimary ? inPrimary : inWorker;
  if (acts) act[acts](app);
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function started(t, given, options = {}) {
  const port = await freePort();
  const cluster = program(t, serving, { given: { port, ...given }, ...options });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

test('what a program tells its parent by process.send is one line of information where nobody uses messages', async (t) => {
  const { cluster } = await started(t, { inWorker: 'send' });
  await cluster.until(/A message came by send\(\) and has no listener/);
  assert.equal((await cluster.stop()).code, 0, cluster.output);
  const told = records(cluster).filter(({ msg }) => msg.includes('came by send()'));
  assert.deepEqual(told.map(({ level }) => level), [30], cluster.output);
  assert.equal(cluster.stderr, '');
});

test('a program that uses messages is warned of one that nobody hears', async (t) => {
  const { cluster } = await started(t, { inWorker: 'send', inPrimary: 'ask' });
  await cluster.until(/\[UNHEARD_MESSAGE\] DroverWarning: A message came by send\(\) and has no listener/);
});

/** Asks, reads the head if there is one, and leaves after a while. */
async function leave(port, path, isAnswered) {
  const asked = http.get({ port, host: '127.0.0.1', path, agent: false });
  asked.on('error', () => {});
  if (isAnswered) await once(asked, 'response');
  else await once(asked, 'socket');
  await new Promise((resolve) => setTimeout(resolve, 300));
  asked.destroy();
}

test('event streams and long polls whose clients leave are no slow requests', async (t) => {
  const { cluster, port } = await started(t, { config: { logging: { slowRequests: 100 } } });
  await leave(port, '/events', true);
  await leave(port, '/poll', false);
  // One that is slow comes last in each worker.
  for (let visit = 0; visit < 4; visit += 1) assert.equal((await request(port, { path: '/slow' })).body, 'late');
  await cluster.eventMany(4, 'request:slow', { path: '/slow', statusCode: 200 });
  assert.equal(cluster.events('request:slow').length, 4);
});

test('at level debug requests whose clients left are logged', async (t) => {
  const { cluster, port } = await started(t, { config: { logging: { slowRequests: 100, level: 'debug' } } });
  await leave(port, '/poll', false);
  const { level, statusCode, msg } = await cluster.event('request:slow', { path: '/poll' });
  assert.deepEqual([level, statusCode], [20, 0]);
  assert.match(msg, /took \d+ ms for GET \/poll \(its connection ended first\)$/);
});

test("colour codes of a worker's line are removed from msg in JSON", async (t) => {
  const { cluster, port } = await started(t, { config: { logging: { format: 'json' } } });
  await request(port, { path: '/colours' });
  await cluster.until(/red and bold/);
  assert.deepEqual(records(cluster).filter(({ msg }) => msg.includes('bold')).map(({ msg }) => msg), ['red and bold']);
});

test("pretty lines without colour have no colours of workers either", async (t) => {
  const { cluster, port } = await started(t, { config: { logging: { format: 'pretty' } } });
  await request(port, { path: '/colours' });
  await cluster.until(/red and bold/);
  assert.match(cluster.raw, /\[\d\] red and bold$/m);
});

const holders = {
  'this program itself': ({ config }) => {
    if (process.env.CLUSTER_WORKER === 'true') return setInterval(() => {}, 60_000);
    require('node:net').createServer().listen(3003, '127.0.0.1', () => {
      const { ClusterManager } = require('drover');
      new ClusterManager(config).start().then(() => console.log('STARTED'));
    });
  },
  'process \\d+ \\(node\\)': ({ config, holds }) => {
    const { spawn } = require('node:child_process');
    if (process.env.CLUSTER_WORKER === 'true') return setInterval(() => {}, 60_000);
    const other = spawn(process.execPath, ['-e', holds], { stdio: ['ignore', 'pipe', 'inherit'] });
    other.stdout.once('data', () => {
      const { ClusterManager } = require('drover');
      new ClusterManager(config).start().then(() => console.log('STARTED'));
    });
  },
};

for (const [holder, main] of Object.entries(holders)) {
  test(`a monitoring port that ${holder.replace(/\\/g, '')} has is named as taken, as information`, { skip: noNetworks }, async (t) => {
    const holds = "require('node:net').createServer().listen(3003, '127.0.0.1', () => console.log('HELD'))";
    const config = { workers: 1, processManagement: { ready: 'boot', lingerTimeout: 0 } };
    const { node, execArgv } = ownNetwork();
    const cluster = program(t, main, { given: { config, holds }, node, execArgv });
    await cluster.until(/STARTED/);
    // The log is written by a thread of its own; this line follows the one in question.
    await cluster.event('monitoring:listening');
    const told = records(cluster).filter(({ msg }) => msg.startsWith('Port 3003 is taken'));
    assert.equal(told.length, 1, cluster.output);
    assert.match(told[0].msg, new RegExp(`^Port 3003 is taken by ${holder.replace('node', path.basename(runtime))}: the monitoring API is on the next free one$`));
    assert.equal(told[0].level, 30);
  });
}
