'use strict';

// Keep-alive connections outlive their worker: when it closes its server or drains, idle ones move to another
// worker, busy ones when their response is done, and their clients see nothing. What the application has touched
// stays where it is.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { connect } = require('./helpers/connection');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');
const { run } = require('./helpers/run');
const { answering, ask } = require('./helpers/persistent-clients');

/** So often the workers of the stress close and listen again. */
const ROUNDS = 40;

const CLIENTS = 6;

/**
 * Two workers that close their server at SIGUSR2 and then listen again, and that leave for good at SIGHUP. `server`
 * holds properties of it.
 */
function moving({ port, config, server: properties, listener }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const options = { connectionsCheckingInterval: 50 };
  // The listener comes as text, with what it needs of this module.
  const server = http.createServer(options, new Function('require', 'process', `return (${listener})()`)(require, process));
  Object.assign(server, properties);
  // What has moved is not to be taken back from a worker because the machine is busy.
  const loadBalancing = { healthAware: false, ...config?.loadBalancing };
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, ...config, loadBalancing } } });
  if (app.isWorker) {
    process.on('SIGUSR2', () => {
      server.close(() => server.listen(port, '127.0.0.1', () => console.log(`BACK ${process.pid}`)));
    });
    process.on('SIGHUP', () => app.stopCluster());
    // So that a worker whose server is closed lives on.
    setInterval(() => {}, 60_000);
  }
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

/** What the workers answer, by path. */
function routes() {
  const touches = {
    '/pin': (socket) => {
      socket[Symbol.for('drover.pin')] = true;
    },
    '/listen': (socket) => socket.on('close', () => {}),
    '/mark': (socket) => {
      socket.user = 'somebody';
    },
    '/look': (socket) => [socket.remoteAddress, socket.localPort],
  };
  return (request, response) => {
    touches[request.url]?.(request.socket);
    let length = 0;
    request.on('data', (piece) => {
      length += piece.length;
    });
    const end = () => response.end(JSON.stringify({ pid: process.pid, length, port: request.socket.remotePort }));
    const [pathname, query] = request.url.split('?');
    request.on('end', () => (pathname === '/slow' ? setTimeout(end, Number(query?.slice('ms='.length) ?? 400)) : end()));
    if (pathname === '/slow') console.log('SLOW');
  };
}

async function serving(t, { config, server, listener = routes } = {}) {
  const port = await freePort();
  const cluster = program(t, moving, { given: { port, config, server, listener: String(listener) } });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

/** How a worker is made to let go: it closes its server, or drains and is replaced. */
const ways = {
  'server.close()': async (cluster, pid) => {
    process.kill(pid, 'SIGUSR2');
    await cluster.until(new RegExp(`BACK ${pid}`));
  },
  'stopCluster() in the worker': async (cluster, pid) => {
    process.kill(pid, 'SIGHUP');
    await cluster.event('worker:exit', { workerPid: pid, reason: 'stopped', exitCode: 0 });
  },
};

for (const [name, letGo] of Object.entries(ways)) {
  test(`${name}: an idle connection is handed off to another worker`, async (t) => {
    const { cluster, port } = await serving(t);
    const client = await connect(t, port);
    const { pid } = (await client.get()).json();
    await letGo(cluster, pid);
    const body = 'x'.repeat(2000);
    const answer = await client.post(body);
    assert.equal(answer.headers.connection, 'keep-alive');
    const { pid: now, length, port: theirs } = answer.json();
    assert.notEqual(now, pid);
    assert.equal(length, body.length);
    assert.equal(theirs, client.socket.localPort);
  });

  test(`${name}: a busy connection is handed off after its response, with unchanged headers`, async (t) => {
    const { cluster, port } = await serving(t);
    const client = await connect(t, port);
    client.write('GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await cluster.until(/SLOW/);
    const slow = client.response();
    // Whoever has it: both are asked to close, one after the other.
    const other = await connect(t, port);
    const { pid: idle } = (await other.get()).json();
    const pids = cluster.others().filter((pid) => pid !== idle);
    assert.equal(pids.length, 1);
    await letGo(cluster, pids[0]);
    const answer = await slow;
    assert.equal(answer.json().pid, pids[0]);
    assert.equal(answer.headers.connection, 'keep-alive');
    assert.notEqual((await client.get()).json().pid, pids[0]);
  });
}

test('a connection on which a request has begun is not moved: its worker answers', async (t) => {
  const { cluster, port } = await serving(t);
  const client = await connect(t, port);
  const { pid } = (await client.get()).json();
  const others = [await connect(t, port), await connect(t, port)];
  const pids = [];
  for (const other of others) pids.push((await other.get()).json().pid);
  client.write('GET / HTT');
  // Its worker has read that by the time that it has answered somebody who asked later.
  const neighbour = others[pids.indexOf(pid)];
  assert.equal((await neighbour.get()).json().pid, pid);
  process.kill(pid, 'SIGUSR2');
  // The neighbour, idle between its requests, leaves the closing worker; this one stays.
  while ((await neighbour.get()).json().pid === pid);
  client.write('P/1.1\r\nHost: localhost\r\n\r\n');
  assert.equal((await client.response()).json().pid, pid);
  await cluster.until(new RegExp(`BACK ${pid}`));
  assert.notEqual((await client.get()).json().pid, pid);
});

for (const touch of ['/pin', '/listen', '/mark']) {
  test(`a connection that the application has touched stays and ends with its worker: ${touch}`, async (t) => {
    const { cluster, port } = await serving(t);
    const client = await connect(t, port);
    const untouched = await connect(t, port);
    const other = await connect(t, port);
    const { pid } = (await client.get(touch)).json();
    const clients = [untouched, other];
    for (const one of clients) await one.get('/look');
    process.kill(pid, 'SIGUSR2');
    await client.closed;
    await cluster.until(new RegExp(`BACK ${pid}`));
    for (const one of clients) assert.notEqual((await one.get()).json().pid, pid);
  });
}

test('handoff: false closes the ordinary way', async (t) => {
  const { cluster, port } = await serving(t, { config: { loadBalancing: { handoff: false } } });
  const client = await connect(t, port);
  const { pid } = (await client.get()).json();
  process.kill(pid, 'SIGUSR2');
  await client.closed;
  await cluster.until(new RegExp(`BACK ${pid}`));
});

test('without another worker connections close the ordinary way', async (t) => {
  const { cluster, port } = await serving(t, { config: { workers: 1 } });
  const client = await connect(t, port);
  const { pid } = (await client.get()).json();
  process.kill(pid, 'SIGUSR2');
  await client.closed;
  await cluster.until(new RegExp(`BACK ${pid}`));
});

test('an idle connection that was handed off is closed without a response after its keep-alive time', async (t) => {
  // Headers must come sooner than that: a newcomer would have been answered with 408.
  const server = { keepAliveTimeout: 1500, keepAliveTimeoutBuffer: 0, headersTimeout: 300, requestTimeout: 300 };
  const { cluster, port } = await serving(t, { server });
  const client = await connect(t, port);
  const since = performance.now();
  const { pid } = (await client.get()).json();
  process.kill(pid, 'SIGUSR2');
  await cluster.until(new RegExp(`BACK ${pid}`));
  await client.closed;
  const time = performance.now() - since;
  assert.equal(client.unread, '');
  // From Node.js 20.19 on a second is added.
  assert.ok(time > 1300 && time < 5000, `${time} ms`);
});

test('a slow response on a handed-off connection is not cut off by the remaining keep-alive time', async (t) => {
  const { cluster, port } = await serving(t, { server: { keepAliveTimeout: 2500, keepAliveTimeoutBuffer: 0 } });
  const client = await connect(t, port);
  const { pid } = (await client.get()).json();
  process.kill(pid, 'SIGUSR2');
  await cluster.until(new RegExp(`BACK ${pid}`));
  assert.notEqual((await client.get('/slow?ms=4000')).json().pid, pid);
});

test('maxRequestsPerSocket holds across a move', async (t) => {
  const { cluster, port } = await serving(t, { server: { maxRequestsPerSocket: 3 } });
  const client = await connect(t, port);
  const { pid } = (await client.get()).json();
  process.kill(pid, 'SIGUSR2');
  await cluster.until(new RegExp(`BACK ${pid}`));
  const second = await client.get();
  assert.notEqual(second.json().pid, pid);
  assert.equal(second.headers.connection, 'keep-alive');
  const third = await client.get();
  assert.equal(third.headers.connection, 'close');
  await client.closed;
});

for (const kind of ['http', 'express', 'fastify', 'koa']) {
  test(`a connection to ${kind} moves: its framework touches none`, async (t) => {
    const port = await freePort();
    const script = path.join(__dirname, 'fixtures', 'apps', `${kind}.js`);
    const env = { PORT: String(port), CLUSTER_CONFIG: JSON.stringify({ workers: 2, loadBalancing: { healthAware: false } }) };
    const cluster = run(t, path.join(__dirname, 'fixtures', 'clustered.js'), { args: [script], env });
    await cluster.until(/the cluster is ready/);
    await cluster.until(new RegExp(`${kind} is listening`));
    const client = await connect(t, port);
    const before = (await client.get()).json().pid;
    cluster.signal('SIGHUP');
    let answer;
    do answer = await client.get();
    while (answer.json().pid === before);
    assert.equal(answer.headers.connection, 'keep-alive');
  });
}

test('clients that never reconnect lose nothing while their connections are handed off continuously', async (t) => {
  const { cluster, port } = await serving(t, { listener: answering });
  const workers = cluster.others();
  const stop = new AbortController();
  const asking = Promise.all(Array.from({ length: CLIENTS }, (_, seed) => ask(port, seed + 1, stop.signal)));
  const failed = asking.then(
    () => null,
    (error) => error,
  );
  for (let round = 0; round < ROUNDS; round += 1) {
    const pid = workers[round % 2];
    process.kill(pid, 'SIGUSR2');
    const back = cluster.untilMany(Math.floor(round / 2) + 1, new RegExp(`BACK ${pid}`));
    const error = await Promise.race([back.then(() => null), failed]);
    if (error) throw error;
  }
  stop.abort();
  const clients = await asking;
  for (const { answered, workers: seen } of clients) assert.ok(answered > 0 && seen.size === 2);
});
