'use strict';

// A proxy keeps few connections and sends the requests of many clients through each. Where requests belong to a
// worker (cookie affinity, client addresses that the proxy tells), every request of such a connection finds its
// own worker, and the proxy keeps its connection.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connect } = require('./helpers/connection');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Answers with its worker and the body's length, after a while if asked to, with a padding as long as asked for. */
function behindProxy({ port, config, keepAlive }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer((request, response) => {
    const { searchParams } = new URL(request.url, 'http://localhost');
    let length = 0;
    request.on('data', (piece) => (length += piece.length));
    request.on('end', () => {
      const padding = 'x'.repeat(Number(searchParams.get('padding') ?? 0));
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ worker: app.workerId, length, padding }));
    });
  });
  if (keepAlive) server.keepAliveTimeout = keepAlive;
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 4, ...config } } });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
    console.log('the cluster is ready');
  });
}

const TRUSTED = ['loopback'];

async function serving(t, loadBalancing, given = {}) {
  const port = await freePort();
  const config = { loadBalancing: { healthAware: false, ...loadBalancing } };
  const cluster = program(t, behindProxy, { given: { port, config, ...given } });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

/** A request of the client at an address, as a proxy passes it on. */
async function from(connection, address, path = '/', body = '') {
  const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${address}\r\n`;
  connection.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  return (await connection.response()).json();
}

const addresses = Array.from({ length: 24 }, (_, at) => `198.51.100.${at}`);

/** The worker of each client, when each has a connection of its own. */
async function homes(t, port) {
  const found = new Map();
  for (const address of addresses) {
    const connection = await connect(t, port);
    found.set(address, (await from(connection, address)).worker);
    connection.close();
  }
  assert.ok(new Set(found.values()).size > 1, 'the clients have different workers');
  return found;
}

for (const loadBalancing of [{ sessionAffinity: 'ip' }, { strategy: 'ip-hash' }]) {
  test(`each request on a proxy's connection reaches the worker of its client: ${JSON.stringify(loadBalancing)}`, async (t) => {
    const { port } = await serving(t, { ...loadBalancing, trustProxy: TRUSTED });
    const home = await homes(t, port);
    const proxy = await connect(t, port);
    for (let round = 0; round < 5; round += 1) {
      for (const address of addresses) {
        const answer = await from(proxy, address, '/', 'x'.repeat(round * 5000));
        assert.deepEqual(answer, { worker: home.get(address), length: round * 5000, padding: '' });
      }
    }
  });
}

test("each request on a proxy's connection reaches the worker in its cookie", async (t) => {
  const { port } = await serving(t, { sessionAffinity: 'cookie', trustProxy: TRUSTED });
  const clients = [];
  for (let client = 0; client < 8; client += 1) {
    const first = await request(port);
    clients.push({ worker: first.json().worker, cookie: first.headers['set-cookie'][0].split(';')[0] });
  }
  const proxy = await connect(t, port);
  for (let visit = 0; visit < 40; visit += 1) {
    // Not in the order in which the workers would come in turn.
    const { worker, cookie } = clients[(visit * 5) % clients.length];
    proxy.write(`GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`);
    assert.equal((await proxy.response()).json().worker, worker);
  }
});

test('a connection whose long response is read slowly returns to the primary when the response is sent', async (t) => {
  const { port } = await serving(t, { sessionAffinity: 'ip', trustProxy: TRUSTED });
  const home = await homes(t, port);
  const proxy = await connect(t, port);
  for (const address of addresses.slice(0, 6)) {
    proxy.socket.pause();
    setTimeout(() => proxy.socket.resume(), 100);
    const answer = await from(proxy, address, `/?padding=${8 << 20}`);
    assert.equal(answer.worker, home.get(address));
    assert.equal(answer.padding.length, 8 << 20);
  }
});

test("pipelined requests on a proxy's connection are all answered in order", async (t) => {
  const { port } = await serving(t, { sessionAffinity: 'ip', trustProxy: TRUSTED });
  const proxy = await connect(t, port);
  for (let round = 0; round < 10; round += 1) {
    proxy.write(addresses.map((address, at) =>
      `POST / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${address}\r\nContent-Length: ${at}\r\n\r\n${'x'.repeat(at)}`).join(''));
    for (const at of addresses.keys()) assert.equal((await proxy.response()).json().length, at);
  }
});

test('a proxy keeps its connection while its workers are replaced', async (t) => {
  const { cluster, port } = await serving(t, { sessionAffinity: 'ip', trustProxy: TRUSTED });
  const home = await homes(t, port);
  const proxy = await connect(t, port);
  await from(proxy, addresses[0]);
  cluster.signal('SIGWINCH');
  let isOver = false;
  const over = cluster.until(/ROLLED/).then(() => (isOver = true));
  while (!isOver) for (const address of addresses) await from(proxy, address);
  await over;
  for (const address of addresses) assert.equal((await from(proxy, address)).worker, home.get(address));
});

test('an idle connection is closed after keepAliveTimeout without a response, and not counted as refused', async (t) => {
  const { cluster, port } = await serving(t, { sessionAffinity: 'ip', trustProxy: TRUSTED }, { keepAlive: 1000 });
  const proxy = await connect(t, port);
  await from(proxy, addresses[0]);
  assert.equal(await proxy.closed, undefined, 'closed in order');
  assert.equal(proxy.unread, '');
  assert.doesNotMatch(cluster.output, /refused/);
});

test('a connection of an untrusted client stays at its worker', async (t) => {
  const { port } = await serving(t, { sessionAffinity: 'ip', trustProxy: ['192.0.2.1'] });
  const client = await connect(t, port);
  const workers = new Set();
  for (const address of addresses) workers.add((await from(client, address)).worker);
  assert.equal(workers.size, 1);
});
