'use strict';

// `server.maxConnections` in a worker: as Node documents for clusters, another worker takes what one has no room for,
// and Node drops it only where `dropMaxConnection` is set.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const { freePort, request, tcp } = require('./helpers/http');
const { nodeWith } = require('./helpers/nodes');
const { program } = require('./helpers/program');
const { inWay, ways } = require('./helpers/ways');

const [major, minor] = process.versions.node.split('.').map(Number);
/** Node's own clusters have it from these versions on. */
const dropsInClusters = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);

/** A server that says who it is, with a limit; `given.set` changes the limit when a client says so. */
function limited({ port, most, drops, late }) {
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`${process.pid}\n`);
    socket.on('data', (data) => {
      const [, number] = String(data).match(/set (\d+)/) ?? [];
      if (number !== undefined) server.maxConnections = Number(number);
      socket.write('done\n');
    });
  });
  if (!late) server.maxConnections = most;
  if (drops) server.dropMaxConnection = true;
  server.on('drop', ({ localPort, remoteFamily }) => console.log(`DROP ${localPort === port} ${remoteFamily}`));
  server.listen(port, '127.0.0.1', () => {
    if (late) server.maxConnections = most;
    console.log('LISTENS');
  });
}

const closed = (client) => once(client.socket.resume(), 'close');

async function connectAll(port, count) {
  const clients = [];
  for (let nth = 0; nth < count; nth += 1) clients.push(await tcp(port));
  return clients;
}

const linesOf = (clients) => Promise.all(clients.map((client) => client.line()));

/** How many of them each worker has. */
function shares(lines) {
  const counts = {};
  for (const line of lines) counts[line] = (counts[line] ?? 0) + 1;
  return Object.values(counts).sort();
}

for (const way of ways.filter((way) => way !== 'one process')) {
  test(`${way}: a worker that is full leaves the connection to another`, async (t) => {
    const port = await freePort();
    const run = program(t, inWay(way, limited, { port, most: 2 }));
    await run.untilMany(2, /LISTENS/);
    const clients = await connectAll(port, 4);
    assert.deepEqual(shares(await linesOf(clients)), [2, 2]);
    assert.doesNotMatch(run.stdout, /DROP/);
    clients.forEach((client) => client.close());
  });
}

for (const way of ways) {
  test(`${way}: with dropMaxConnection Node drops what is too much`, async (t) => {
    const port = await freePort();
    const node = await nodeWith(way !== 'node:cluster' || dropsInClusters, 24);
    const run = program(t, inWay(way, limited, { port, most: 1, drops: true, config: { workers: 1 } }), node);
    await run.untilMany(way === 'node:cluster' ? 2 : 1, /LISTENS/);
    const held = await connectAll(port, way === 'node:cluster' ? 2 : 1);
    await linesOf(held);
    const client = net.connect(port, '127.0.0.1').on('error', () => {}).resume();
    await once(client, 'close');
    assert.equal(client.bytesRead, 0);
    await run.until(/DROP true IPv4/);
    held.forEach((one) => one.close());
  });
}

for (const dispatch of ['push', 'direct']) {
  const config = { loadBalancing: { dispatch } };

  test(`${dispatch}: when all workers are full a connection waits until one has room, and is lost nowhere`, async (t) => {
    const port = await freePort();
    const run = program(t, inWay('drover', limited, { port, most: 2, config }));
    await run.until(/ALL READY/);
    const clients = await connectAll(port, 4);
    const first = await linesOf(clients);
    assert.deepEqual(shares(first), [2, 2]);
    // They are connected, by the kernel, and nobody has them.
    const late = await connectAll(port, 2);
    assert.deepEqual(late.map(({ socket }) => socket.bytesRead), [0, 0]);
    clients[0].close();
    assert.equal(await late[0].line(), first[0]);
    assert.equal(late[1].socket.bytesRead, 0);
    clients[1].close();
    assert.equal(await late[1].line(), first[1]);
    assert.doesNotMatch(run.stdout, /DROP/);
    [...clients, ...late].forEach((client) => client.close());
  });

  test(`${dispatch}: a limit that is set, raised and taken away while it serves counts at once`, async (t) => {
    const port = await freePort();
    const run = program(t, inWay('drover', limited, { port, most: 1, late: true, config: { ...config, workers: 1 } }));
    await run.until(/ALL READY/);
    const first = await tcp(port);
    await first.line();
    const [second, third] = await connectAll(port, 2);
    first.write('set 2');
    assert.equal(await first.line(), 'done');
    assert.match(await second.line(), /^\d+$/);
    assert.equal(third.socket.bytesRead, 0);
    second.write('set 9');
    assert.equal(await second.line(), 'done');
    assert.match(await third.line(), /^\d+$/);
    [first, second, third].forEach((client) => client.close());
  });

  test(`${dispatch}: thousands of short connections against a low limit are all answered`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      inWay(
        'drover',
        ({ port }) => {
          const server = require('node:http').createServer((_, response) => response.end(`${process.pid}`));
          server.maxConnections = 3;
          server.on('drop', () => console.log('DROP'));
          server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
        },
        { port, config: { loadBalancing: { dispatch, queueTimeout: 60_000 } } },
      ),
    );
    await run.until(/ALL READY/);
    const seen = new Set();
    const client = async () => {
      for (let nth = 0; nth < 60; nth += 1) {
        const { status, body } = await request(port);
        assert.equal(status, 200);
        seen.add(body);
      }
    };
    await Promise.all(Array.from({ length: 40 }, client));
    assert.equal(seen.size, 2);
    assert.doesNotMatch(run.stdout, /DROP/);
  });
}

test('who waits for a full worker longer than queueTimeout is refused', async (t) => {
  const port = await freePort();
  const config = { workers: 1, loadBalancing: { queueTimeout: 200 } };
  const run = program(t, inWay('drover', limited, { port, most: 1, config }));
  await run.until(/ALL READY/);
  const holder = await tcp(port);
  await holder.line();
  const client = await tcp(port);
  await closed(client);
  assert.doesNotMatch(run.stdout, /DROP/);
  holder.close();
});

test('a server that closes and listens again has its whole limit', async (t) => {
  const port = await freePort();
  const run = program(
    t,
    inWay(
      'drover',
      ({ port }) => {
        const server = require('node:net').createServer((socket) => {
          socket.on('error', () => {});
          socket.write(`${process.pid}\n`);
          socket.on('close', () => {
            if (server.listening) server.close(() => server.listen(port, '127.0.0.1', () => console.log('AGAIN')));
          });
        });
        server.maxConnections = 1;
        server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      },
      { port, config: { workers: 1 } },
    ),
  );
  await run.until(/ALL READY/);
  for (let round = 1; round <= 3; round += 1) {
    const client = await tcp(port);
    assert.match(await client.line(), /^\d+$/);
    client.close();
    await run.untilMany(round, /AGAIN/);
  }
});
