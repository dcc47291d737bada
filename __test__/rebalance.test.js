'use strict';

// Long-lived connections even out: who came while one worker was up alone is spread over those that came later.

const assert = require('node:assert/strict');
const http = require('node:http');
const { test } = require('node:test');
const { connect } = require('./helpers/connection');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

const HELD = 32;

function held({ port, loadBalancing }) {
  const { createServer } = require('drover');
  const http = require('node:http');
  const config = { workers: 1, loadBalancing };
  const app = createServer({
    app: http.createServer((_, response) => response.end(JSON.stringify({ pid: process.pid, workers: app.getAllWorkers() }))),
    cluster: { enabled: true, config },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.scale(4).then(() => console.log('SCALED')));
    console.log('the cluster is ready');
  });
}

/** Clients that ask one after the other on one connection each, until `stop`. */
async function crowd(t, port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: HELD });
  t.after(() => agent.destroy());
  let going = true;
  let sockets = 0;
  const create = agent.createConnection;
  agent.createConnection = function (...args) {
    sockets += 1;
    return create.apply(this, args);
  };
  const one = async () => {
    while (going) {
      const { status } = await request(port, { agent });
      assert.equal(status, 200);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const all = Promise.all(Array.from({ length: HELD }, one));
  all.catch(() => {});
  return {
    sockets: () => sockets,
    async stop() {
      going = false;
      await all;
    },
  };
}

const counts = async (port) => (await request(port)).json().workers.map(({ activeConnections }) => activeConnections);

async function grown(t, loadBalancing) {
  const port = await freePort();
  const cluster = program(t, held, { given: { port, loadBalancing } });
  await cluster.until(/the cluster is ready/);
  const clients = await crowd(t, port);
  while ((await counts(port))[0] < HELD);
  cluster.signal('SIGWINCH');
  await cluster.until(/SCALED/);
  return { port, clients };
}

test('with least-connections connections of one worker move to workers that started later', async (t) => {
  const { port, clients } = await grown(t, { strategy: 'least-connections' });
  const even = (numbers) => numbers.length === 4 && numbers.every((number) => number >= HELD / 4 - 1 && number <= HELD / 4 + 2);
  for (;;) {
    // The connection that asks is one of them.
    if (even(await counts(port))) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await clients.stop();
  assert.equal(clients.sockets(), HELD, 'and every client has its first connection still');
});

test('rebalance: false leaves connections where they are', async (t) => {
  const { port, clients } = await grown(t, { strategy: 'least-connections', rebalance: false });
  // Twice the time in which the first of them would have moved.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  assert.ok((await counts(port))[0] >= HELD);
  await clients.stop();
});

/** A worker that takes 20 ms for each answer; SIGWINCH brings a second one. */
function busy({ port }) {
  const { createServer } = require('drover');
  const server = require('node:http').createServer((asked, response) => {
    if (asked.url === '/counts') return response.end(JSON.stringify({ workers: app.getAllWorkers() }));
    setTimeout(() => response.end('{}'), 20);
  });
  const config = { workers: 1, loadBalancing: { strategy: 'least-connections' } };
  const app = createServer({ app: server, cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.scale(2).then(() => console.log('SCALED')));
    console.log('the cluster is ready');
  });
}

test('connections that are always busy are rebalanced too, after their responses', async (t) => {
  const MANY = 64;
  const port = await freePort();
  const cluster = program(t, busy, { given: { port } });
  await cluster.until(/the cluster is ready/);
  const clients = await Promise.all(Array.from({ length: MANY }, () => connect(t, port)));
  let going = true;
  const asking = Promise.all(
    clients.map(async (client) => {
      while (going) assert.equal((await client.get()).status, 200);
    }),
  );
  asking.catch(() => {});
  cluster.signal('SIGWINCH');
  await cluster.until(/SCALED/);
  const since = performance.now();
  for (;;) {
    const { workers } = (await Promise.race([request(port, { path: '/counts' }), asking])).json();
    // The connection that asks is one of them.
    if (workers.every(({ activeConnections: count }) => count >= MANY / 2 - 1 && count <= MANY / 2 + 2)) break;
    assert.ok(performance.now() - since < 60_000, JSON.stringify(workers.map(({ activeConnections }) => activeConnections)));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  going = false;
  await asking;
});
