'use strict';

// Which worker gets a connection, seen by clients of real clusters. The accept thread alone is held to its
// rules by the Rust tests.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request, tcp } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { failureCluster, folder, program } = require('./helpers/program');
const { run } = require('./helpers/run');

/** Exact placement however busy the machine is: no worker is judged by how soon it gets a processor. */
const balancing = (options) => ({ loadBalancing: { healthAware: false, ...options } });

async function ready(t, options) {
  const cluster = failureCluster(t, options);
  await cluster.until(/the cluster is ready/);
  return cluster;
}

const worker = async (place, options) => (await request(place, options)).json().worker;

async function inTurn(place, visits) {
  const workers = [];
  for (let visit = 0; visit < visits; visit += 1) workers.push(await worker(place));
  return workers;
}

test('round-robin serves the workers in turn, on a port', async (t) => {
  const port = await freePort();
  await ready(t, { port, config: { workers: 3, ...balancing({}) } });
  assert.deepEqual(await inTurn(port, 6), ['0', '1', '2', '0', '1', '2']);
});

test('round-robin serves the workers in turn, on a unix socket', async (t) => {
  const socket = path.join(folder(t), 'app.sock');
  await ready(t, { port: socket, config: { workers: 3, ...balancing({ dispatch: 'direct' }) } });
  assert.deepEqual(await inTurn(socket, 6), ['0', '1', '2', '0', '1', '2']);
});

/** A connection that stays open after one request. */
async function held(port) {
  const connection = await tcp(port);
  connection.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  let line = await connection.line();
  while (!line.includes('Transfer-Encoding') && !line.includes('Content-Length')) line = await connection.line();
  return connection;
}

test('sixteen long-lived connections are spread evenly over four workers, also after churn', async (t) => {
  const port = await freePort();
  // HTTP would let workers that are just there warm up first, and who asks is to be counted nowhere.
  const config = { workers: 4, monitoring: { port: 0 }, ...balancing({ strategy: 'least-connections' }) };
  const cluster = run(t, path.join(__dirname, 'fixtures', 'clustered.js'), {
    args: [path.join(__dirname, 'fixtures', 'apps', 'net.js')],
    env: { PORT: String(port), CLUSTER_CONFIG: JSON.stringify(config) },
  });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  const open = async () => {
    const workers = (await request(api, { path: '/cluster/workers' })).json();
    return workers.map(({ activeConnections }) => activeConnections);
  };
  const settled = async (sum) => {
    for (const until = Date.now() + 20_000; Date.now() < until; ) {
      const counts = await open();
      if (counts.reduce((all, count) => all + count) === sum) return counts;
    }
    throw new Error(`the connections did not become ${sum}`);
  };
  const connections = [];
  const connect = async (count) => {
    for (let at = 0; at < count; at += 1) {
      const connection = await tcp(port);
      await connection.line();
      connections.push(connection);
    }
  };
  await connect(16);
  assert.deepEqual(await settled(16), [4, 4, 4, 4]);
  for (const every of [4, 3, 2]) {
    const closing = connections.filter((_, at) => at % every === 0);
    for (const connection of closing) {
      connections.splice(connections.indexOf(connection), 1);
      connection.close();
    }
    await settled(16 - closing.length);
    await connect(closing.length);
    assert.deepEqual(await settled(16), [4, 4, 4, 4]);
  }
  for (const connection of connections) connection.close();
});

test('a client with an affinity cookie reaches its worker again, also with a body', async (t) => {
  const port = await freePort();
  await ready(t, { port, config: { workers: 3, ...balancing({ sessionAffinity: 'cookie' }) } });
  for (let client = 0; client < 4; client += 1) {
    const first = await request(port);
    const [cookie] = first.headers['set-cookie'];
    assert.match(cookie, /^drover_affinity=\d\.[\w-]+; Path=\/; HttpOnly/);
    const mine = cookie.split(';')[0];
    for (let visit = 0; visit < 3; visit += 1) {
      const options = { method: 'POST', body: 'x'.repeat(100_000), headers: { cookie: `other=1; ${mine}` } };
      const again = await request(port, options);
      assert.equal(again.json().worker, first.json().worker);
      assert.equal(again.headers['set-cookie'], undefined, 'it has one');
    }
  }
});

test('beyond maxConnectionsPerWorker connections wait until one ends', async (t) => {
  const port = await freePort();
  await ready(t, { port, config: { workers: 2, resources: { maxConnectionsPerWorker: 2 }, ...balancing({}) } });
  const connections = [await held(port), await held(port), await held(port), await held(port)];
  let served = 0;
  const waiting = [held(port), held(port)].map((connection) => connection.then((open) => (served++, open)));
  // Each has its place only when another has gone.
  for (const [at, connection] of connections.slice(0, 2).entries()) {
    assert.equal(served, at);
    connection.close();
    connections.push(await Promise.race(waiting.splice(0, 1)));
  }
  for (const connection of connections) connection.close();
});

/** Gives the same headers with every response, each kind by its path. */
function withHeaders({ port }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const kinds = {
    '/list': ['Content-Type', 'text/plain'],
    '/pairs': [['Content-Type', 'text/plain']],
    '/object': { 'content-type': 'text/plain', 'Set-Cookie': 'own=1' },
  };
  const server = http.createServer((request, response) => {
    response.writeHead(200, kinds[request.url]);
    response.end(JSON.stringify(kinds));
  });
  const config = { workers: 1, loadBalancing: { sessionAffinity: 'cookie' } };
  const app = createServer({ app: server, cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('the affinity cookie is added to the headers of a response without changing the program’s', async (t) => {
  const port = await freePort();
  const cluster = program(t, withHeaders, { given: { port } });
  await cluster.until(/the cluster is ready/);
  const before = (await request(port, { path: '/list' })).json();
  for (const [path, cookies] of [['/list', 1], ['/pairs', 1], ['/object', 2]]) {
    for (let visit = 0; visit < 3; visit += 1) {
      const answer = await request(port, { path });
      assert.equal(answer.headers['content-type'], 'text/plain', path);
      assert.equal(answer.headers['set-cookie'].length, cookies, path);
      assert.match(answer.headers['set-cookie'].at(-1), /^drover_affinity=/);
      assert.deepEqual(answer.json(), before);
    }
  }
});
