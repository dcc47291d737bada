'use strict';

// `app.listen()` is Express's: what it returns can be used as a server in every process, and its failure
// cannot be taken for success.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request, websocket } = require('./helpers/http');
const { program } = require('./helpers/program');

const environments = { 'a cluster': { CLUSTER_ENABLED: 'true' }, 'one process': { CLUSTER_ENABLED: 'false' } };

async function takenPort(t) {
  const server = net.createServer();
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

for (const [where, env] of Object.entries(environments)) {
  test(`in ${where} listen returns a server of Node's, which more can be hung on and which ends it`, async (t) => {
    const port = await freePort();
    const served = program(
      t,
      ({ port, ws }) => {
        const http = require('node:http');
        const { createServer } = require('drover');
        const { WebSocketServer } = require(ws);
        const app = createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send('over http'));
        const server = app.listen(port, '127.0.0.1', function callback() {
          const facts = { isHttp: server instanceof http.Server, own: this === server, at: server.address().port };
          console.log(`LISTENS ${JSON.stringify({ ...facts, listening: server.listening })}`);
        });
        new WebSocketServer({ server }).on('connection', (socket) => socket.send('over a web socket'));
        if (app.isPrimary) process.once('SIGUSR1', () => server.close(() => console.log(`CLOSED ${server.listening}`)));
      },
      { given: { port, ws: require.resolve('ws') }, env },
    );
    const callbacks = where === 'a cluster' ? 3 : 1;
    await served.untilMany(callbacks, /LISTENS/);
    const told = [...served.stdout.matchAll(/LISTENS (.*)/g)].map(([, facts]) => JSON.parse(facts));
    assert.deepEqual(told, Array(callbacks).fill({ isHttp: true, own: true, at: port, listening: true }));

    assert.equal((await request(port)).body, 'over http');
    const socket = await websocket(port);
    assert.equal(await socket.message(), 'over a web socket');
    socket.close();

    served.signal('SIGUSR1');
    assert.deepEqual(await served.exit, { code: 0, signal: null }, served.output);
    await served.until(/CLOSED false/);
    await served.gone();
  });

  test(`in ${where} a callback with a parameter gets the error, and no event follows`, async (t) => {
    const port = await takenPort(t);
    const refused = program(
      t,
      ({ port }) => {
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.listen(port, '127.0.0.1', (error) => console.log(`TOLD ${error?.code}`));
      },
      { given: { port }, env },
    );
    await refused.exit;
    await refused.until(/TOLD EADDRINUSE/);
    assert.equal(refused.stdout.match(/TOLD/g).length, 1, refused.output);
    assert.doesNotMatch(refused.stderr, /throw|Unhandled/);
    await refused.gone();
  });

  test(`in ${where} a listen error without a listener ends the process, and the callback is not called`, async (t) => {
    const port = await takenPort(t);
    const refused = program(
      t,
      ({ port }) => {
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.listen(port, '127.0.0.1', () => console.log('TOLD'));
      },
      { given: { port }, env },
    );
    assert.equal((await refused.exit).code, 1, refused.output);
    await refused.until(/EADDRINUSE: address already in use 127\.0\.0\.1|Failed to start server. Is port \d+ in use/);
    assert.doesNotMatch(refused.stdout, /TOLD/);
    await refused.gone();
  });
}

test('a server whose share cannot be served emits the error instead of listening, and may listen again', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    async ({ port, native }) => {
      const { ClusterManager } = require('drover');
      if (process.env.WORKER_ID === undefined) {
        new ClusterManager({ workers: 1 }).start().then(() => console.log('READY'));
        return;
      }
      const { addon } = require(native);
      const { workerServe } = addon;
      addon.workerServe = () => ({ error: { code: 'SYSTEM', message: 'nothing polls' } });
      const server = require('node:http').createServer((_, response) => response.end('served'));
      server.once('error', ({ name, message }) => {
        console.log(`FAILED ${name}: ${message}, ${server.listening} ${server.address()}`);
        addon.workerServe = workerServe;
        server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      });
      server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
    },
    { given: { port, native: path.join(__dirname, '..', 'lib', 'native.js') } },
  );
  await cluster.until(/READY/);
  // The primary's own line may come before the worker's, which pass through the log.
  await cluster.until(/LISTENS\n[^]*LISTENS\n/);
  assert.match(cluster.stdout, /^(?:(?!LISTENS)[^])*FAILED ClusterError: nothing polls, false null\n[^]*LISTENS\n/);
  assert.equal((await request(port)).body, 'served');
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  assert.equal(cluster.stdout.match(/LISTENS/g).length, 2, cluster.output);
});

test('what a worker could not tell its primary is in the log', async (t) => {
  const cluster = program(
    t,
    ({ native }) => {
      const { ClusterManager } = require('drover');
      if (process.env.WORKER_ID === undefined) {
        new ClusterManager({ workers: 1 }).start().then(() => console.log('READY'));
        return;
      }
      const { addon } = require(native);
      const { workerClose } = addon;
      addon.workerClose = (group) => {
        workerClose(group);
        return { error: { code: 'SYSTEM', message: 'close: a broken pipe' } };
      };
      const http = require('node:http');
      const server = http.createServer().listen(0, '127.0.0.1', () => server.close(() => console.log('CLOSED')));
      http.createServer().listen(0, '127.0.0.1');
    },
    { given: { native: path.join(__dirname, '..', 'lib', 'native.js') } },
  );
  await cluster.until(/CLOSED/);
  await cluster.until(/drover: The primary does not know that a server of this worker has closed: close: a broken pipe/);
});
