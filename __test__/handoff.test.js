'use strict';

// Connections outlive the worker that has them: a client keeps its socket while workers come and go.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connect } = require('./helpers/connection');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Rolls at SIGWINCH. Answers with its pid, the length of the body and what the query asks for. */
function rolling({ port, config, touch, server: options }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer(options ?? {}, (request, response) => {
    const { searchParams, pathname } = new URL(request.url, 'http://localhost');
    if (touch === 'pin') request.socket[Symbol.for('drover.pin')] = true;
    if (touch === 'key') request.socket.user = 'somebody';
    if (touch === 'listener') request.socket.on('close', () => {});
    let length = 0;
    request.on('data', (piece) => (length += piece.length));
    request.on('end', () => {
      const answer = () => response.end(JSON.stringify({ pid: process.pid, length, pathname }));
      setTimeout(answer, Number(searchParams.get('after') ?? 0));
    });
  });
  if (touch === 'server') server.on('connection', () => {});
  if (touch === 'first') server.once('connection', (socket) => socket.destroy());
  // A connection idles through a roll, however long that takes.
  server.keepAliveTimeout = options?.keepAliveTimeout ?? 60_000;
  if (options?.maxRequestsPerSocket) server.maxRequestsPerSocket = options.maxRequestsPerSocket;
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, loadBalancing: { healthAware: false }, ...config } } });
  if (app.isWorker) process.on('SIGUSR2', () => server.close(() => console.log('CLOSED')));
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    let rolls = 0;
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log(`ROLLED ${++rolls}`)));
    console.log('the cluster is ready');
  });
}

async function serving(t, given = {}) {
  const port = await freePort();
  const cluster = program(t, rolling, { given: { port, ...given } });
  await cluster.until(/the cluster is ready/);
  let rolls = 0;
  const roll = async () => {
    rolls += 1;
    cluster.signal('SIGWINCH');
    await cluster.until(new RegExp(`ROLLED ${rolls}$`, 'm'));
  };
  return { cluster, port, roll };
}

test('an idle connection of a draining worker is handed off; POST follows GET on the same socket', async (t) => {
  const { port, roll } = await serving(t);
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect(t, port)));
  const pids = new Set();
  for (let round = 0; round < 4; round += 1) {
    for (const client of clients) {
      pids.add((await client.get()).json().pid);
      const answer = await client.post('x'.repeat(1000));
      assert.equal(answer.json().length, 1000);
      assert.equal(answer.headers.connection, 'keep-alive');
      pids.add(answer.json().pid);
    }
    await roll();
  }
  assert.equal(pids.size, 8, 'two workers of four generations');
});

test('a connection without a request so far is handed off too', async (t) => {
  const { port, roll } = await serving(t);
  const client = await connect(t, port);
  await roll();
  assert.equal((await client.get()).status, 200);
});

test('a busy connection is handed off after its response, with unchanged headers', async (t) => {
  const { cluster, port, roll } = await serving(t, { config: { workers: 1 } });
  const client = await connect(t, port);
  const [first] = cluster.others();
  const slow = client.get('/?after=700');
  await cluster.until(/ready/);
  const rolled = roll();
  const answer = await slow;
  assert.equal(answer.json().pid, first);
  assert.equal(answer.headers.connection, 'keep-alive');
  await rolled;
  assert.notEqual((await client.get()).json().pid, first);
});

test('a request that has begun stays where it is, and is answered', async (t) => {
  const { cluster, port, roll } = await serving(t, { config: { workers: 1 } });
  const client = await connect(t, port);
  const [first] = cluster.others();
  await client.get();
  client.write('POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-');
  // A request of another connection, answered after: the loop has read the bytes before.
  await (await connect(t, port)).get();
  const rolled = roll();
  await cluster.event('worker:draining');
  client.write('Length: 3\r\n\r\nabc');
  const { pid, length, pathname } = (await client.response()).json();
  assert.deepEqual({ pid, length, pathname }, { pid: first, length: 3, pathname: '/whole' });
  await rolled;
});

test('pipelined requests are all answered, in order, while workers change', async (t) => {
  const { port, roll } = await serving(t);
  const client = await connect(t, port);
  for (let round = 0; round < 3; round += 1) {
    const rolled = roll();
    for (let batch = 0; batch < 10; batch += 1) {
      client.write(Array.from({ length: 5 }, (_, n) => `GET /${batch}-${n} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
      for (let n = 0; n < 5; n += 1) assert.equal((await client.response()).json().pathname, `/${batch}-${n}`);
    }
    await rolled;
  }
});

for (const touch of ['pin', 'key', 'listener', 'server']) {
  test(`connections touched by the program are not handed off: ${touch}`, async (t) => {
    const { port, roll } = await serving(t, { touch });
    const client = await connect(t, port);
    await client.get();
    const rolled = roll();
    assert.equal(await client.closed, undefined);
    await rolled;
  });
}

test('a connection that stays is announced to close with its next response, and its client reconnects', async (t) => {
  const { cluster, port, roll } = await serving(t, { touch: 'pin', config: { workers: 1 } });
  const client = await connect(t, port);
  await client.get();
  const rolled = roll();
  await cluster.event('worker:draining');
  // The worker hears of it a little later than the log; until then the connection is as ever.
  let answer;
  do answer = await client.get();
  while (answer.headers.connection !== 'close');
  assert.equal(answer.status, 200);
  await client.closed;
  await rolled;
});

test('handoff: false closes idle connections instead', async (t) => {
  const { port, roll } = await serving(t, { config: { loadBalancing: { handoff: false } } });
  const client = await connect(t, port);
  await client.get();
  const [, error] = await Promise.all([roll(), client.closed]);
  assert.equal(error, undefined);
});

test('a handed-off connection is closed after keepAliveTimeout without a 408', async (t) => {
  const { port, roll } = await serving(t, { server: { keepAliveTimeout: 700, headersTimeout: 500 } });
  const client = await connect(t, port);
  await client.get();
  await roll();
  assert.equal(await client.closed, undefined);
  assert.equal(client.unread, '');
});

test('maxRequestsPerSocket counts across workers', async (t) => {
  const { port, roll } = await serving(t, { server: { maxRequestsPerSocket: 4 } });
  const client = await connect(t, port);
  for (let count = 1; count <= 3; count += 1) {
    assert.equal((await client.get()).headers.connection, 'keep-alive');
    await roll();
  }
  assert.equal((await client.get()).headers.connection, 'close');
  await client.closed;
});

test('server.close() in one worker moves its connections to the other', async (t) => {
  const { cluster, port } = await serving(t);
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect(t, port)));
  const before = [];
  for (const client of clients) before.push((await client.get()).json().pid);
  const [closing, staying] = cluster.others();
  assert.deepEqual([...new Set(before)].sort(), [closing, staying].sort());
  process.kill(closing, 'SIGUSR2');
  await cluster.until(/CLOSED/);
  for (const client of clients) assert.equal((await client.get()).json().pid, staying);
});

test('a first connection rejected by a listener does not keep the others from being handed off', async (t) => {
  const { cluster, port } = await serving(t, { touch: 'first' });
  // Each worker's. (Bun tells of a connection when its first request has come.)
  for (let count = 0; count < 2; count += 1) {
    const rejected = await connect(t, port);
    await assert.rejects(rejected.get());
    await rejected.closed;
  }
  const clients = await Promise.all(Array.from({ length: 4 }, () => connect(t, port)));
  for (const client of clients) await client.get();
  const [closing, staying] = cluster.others();
  process.kill(closing, 'SIGUSR2');
  await cluster.until(/CLOSED/);
  for (const client of clients) assert.equal((await client.get()).json().pid, staying);
});

test('when the whole cluster stops idle connections are closed, not moved', async (t) => {
  const { cluster, port } = await serving(t);
  const client = await connect(t, port);
  await client.get();
  cluster.signal('SIGTERM');
  await client.closed;
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
});

test('clients that never reconnect lose nothing during continuous rolls', async (t) => {
  const { port, roll } = await serving(t);
  let going = true;
  const bodies = ['', 'x', 'y'.repeat(300_000)];
  const work = Array.from({ length: 6 }, async (_, number) => {
    const client = await connect(t, port);
    let answered = 0;
    while (going) {
      const body = bodies[(answered + number) % bodies.length];
      const text = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      // In two pieces: the second may find another worker's loop, never another worker.
      const cut = 1 + ((answered * 7) % 40);
      client.write(text.slice(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      client.write(text.slice(cut));
      assert.equal((await client.response()).json().length, body.length);
      answered += 1;
    }
    return answered;
  });
  const done = Promise.all(work);
  done.catch(() => {});
  for (let round = 0; round < 8; round += 1) await roll();
  going = false;
  assert.ok((await done).every((answered) => answered > 8));
});

test('a server that listens again keeps its connections as before', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const server = http.createServer((_, response) => response.end('{}'));
      const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2 } } });
      if (app.isWorker) {
        process.on('SIGUSR2', () => {
          server.close();
          server.listen(port, '127.0.0.1', () => console.log('AGAIN'));
        });
      }
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  for (const pid of cluster.others()) process.kill(pid, 'SIGUSR2');
  await cluster.until(/AGAIN[^]*AGAIN/);
  const client = await connect(t, port);
  for (let count = 0; count < 3; count += 1) assert.equal((await client.get()).headers.connection, 'keep-alive');
});
