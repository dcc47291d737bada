'use strict';

// The user's own server.close() and stopCluster() in a worker: the others serve on and nothing is lost; when
// all have closed the port is refused; what was closed may listen again.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Agent } = require('node:http');
const { test } = require('node:test');
const { freePort, keepAlive, request, tcp } = require('./helpers/http');
const { program } = require('./helpers/program');
const { inWay } = require('./helpers/ways');

/** Workers that close their server at the first SIGUSR2 and listen again at the next. */
function toggling({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer((request, response) => {
    setTimeout(() => response.end(`${process.pid}`), request.url === '/slow' ? 700 : 0);
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, ...config } } });
  if (app.isWorker) {
    process.on('SIGUSR2', () => {
      if (server.listening) server.close(() => console.log(`CLOSED ${process.pid}`));
      else server.listen(port, '127.0.0.1', () => console.log(`LISTENS ${process.pid} ${server.address().port}`));
    });
    // So that a worker whose server is closed lives on.
    setInterval(() => {}, 60_000);
  }
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function serving(t, config) {
  const port = await freePort();
  const cluster = program(t, toggling, { given: { port, config } });
  await cluster.until(/the cluster is ready/);
  return { cluster, port, workers: cluster.others() };
}

/** So many requests, each on a connection of its own, a few at a time; who answered them. */
async function visit(port, count, atOnce = 4) {
  const seen = new Map();
  let left = count;
  const one = async () => {
    while (left > 0) {
      left -= 1;
      const { status, body } = await request(port);
      assert.equal(status, 200);
      seen.set(Number(body), (seen.get(Number(body)) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return seen;
}

/** Resolves when two workers have answered: one that says that it listens may be in dispatch a moment later. */
async function bothServe(port) {
  const pids = new Set();
  while (pids.size < 2) for (const pid of (await visit(port, 2)).keys()) pids.add(pid);
}

for (const dispatch of ['push', 'direct']) {
  test(`${dispatch}: server.close() in one worker loses nothing, and the other serves on`, async (t) => {
    const { cluster, port, workers } = await serving(t, { loadBalancing: { dispatch, healthAware: false } });
    const load = visit(port, 600);
    await visit(port, 20);
    process.kill(workers[0], 'SIGUSR2');
    await cluster.until(new RegExp(`CLOSED ${workers[0]}`));
    const seen = await load;
    assert.equal([...seen.values()].reduce((sum, count) => sum + count, 0), 600);
    assert.deepEqual([...(await visit(port, 20)).keys()], [workers[1]]);
    assert.deepEqual(cluster.others(), workers);
  });

  test(`${dispatch}: a worker that closed may listen again`, async (t) => {
    const { cluster, port, workers } = await serving(t, { loadBalancing: { dispatch, healthAware: false } });
    for (let round = 1; round <= 3; round += 1) {
      process.kill(workers[0], 'SIGUSR2');
      await cluster.untilMany(round, new RegExp(`CLOSED ${workers[0]}`));
      assert.deepEqual([...(await visit(port, 10)).keys()], [workers[1]]);
      process.kill(workers[0], 'SIGUSR2');
      await cluster.untilMany(round, new RegExp(`LISTENS ${workers[0]} ${port}`));
      await bothServe(port);
    }
  });

  test(`${dispatch}: when all workers have closed the port is refused, until one listens again`, async (t) => {
    const { cluster, port, workers } = await serving(t, { loadBalancing: { dispatch, healthAware: false } });
    for (const worker of workers) {
      process.kill(worker, 'SIGUSR2');
      await cluster.until(new RegExp(`CLOSED ${worker}`));
    }
    await assert.rejects(request(port), { code: 'ECONNREFUSED' });
    assert.deepEqual(cluster.others(), workers);

    process.kill(workers[1], 'SIGUSR2');
    await cluster.until(new RegExp(`LISTENS ${workers[1]}`));
    assert.deepEqual([...(await visit(port, 10)).keys()], [workers[1]]);
    process.kill(workers[0], 'SIGUSR2');
    await cluster.until(new RegExp(`LISTENS ${workers[0]}`));
    await bothServe(port);
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null });
  });
}

for (const ready of ['listen', 'boot']) {
  test(`ready ${ready}: a server that is closed as soon as it listens refuses, as without drover`, async (t) => {
    const main = ({ ready }) => {
      if (!process.env.CLUSTER_WORKER) {
        const { ClusterManager } = require('drover');
        const processManagement = { ready };
        return void new ClusterManager({ workers: 1, processManagement }).start();
      }
      const net = require('node:net');
      const server = net.createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        server.close();
        net.connect(port, '127.0.0.1').on('error', ({ code }) => console.log('REFUSED', code)).on('connect', () => console.log('CONNECTED'));
      });
      setInterval(() => {}, 1000);
    };
    const cluster = program(t, main, { given: { ready } });
    await cluster.until(/REFUSED ECONNREFUSED/);
    assert.doesNotMatch(cluster.output, /CONNECTED/);
  });
}

test('server.close() waits for the requests under way, as without drover', async (t) => {
  const { cluster, port, workers } = await serving(t, { workers: 1 });
  const slow = request(port, { path: '/slow' });
  const kept = keepAlive(port);
  t.after(() => kept.close());
  await kept.request();
  await request(port);
  process.kill(workers[0], 'SIGUSR2');
  assert.equal((await slow).body, `${workers[0]}`);
  await cluster.until(/CLOSED/);
});

test('a connection whose request is still on its way when its worker closes is answered', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const server = http.createServer((_, response) => response.end('answered'));
      server.on('connection', () => {
        console.log('CONNECTED');
        server.close(() => console.log('CLOSED'));
        console.log('CLOSING');
      });
      require('drover')
        .createServer({ app: server, cluster: { enabled: true, config: { workers: 1 } } })
        .start(port, '127.0.0.1');
    },
    { given: { port } },
  );
  await cluster.event('cluster:started');
  const connection = await tcp(port);
  await cluster.until(/CLOSING/);
  connection.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  assert.equal(await connection.line(), 'HTTP/1.1 200 OK\r');
  connection.close();
  await cluster.until(/CLOSED/);
});

test('the connection count is right after a server has closed and listened again', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const server = http.createServer((_, response) => response.end(JSON.stringify(app.getAllWorkers())));
      const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 1 } } });
      let rounds = 0;
      const listened = () => console.log(`ROUND ${++rounds}`);
      if (app.isWorker) process.on('SIGUSR2', () => server.close(() => server.listen(port, '127.0.0.1', listened)));
      app.start(port, '127.0.0.1');
    },
    { given: { port } },
  );
  await cluster.event('cluster:started');
  const [worker] = cluster.others();
  for (let round = 1; round <= 3; round += 1) {
    for (let visits = 0; visits < 5; visits += 1) await request(port);
    process.kill(worker, 'SIGUSR2');
    await cluster.until(new RegExp(`ROUND ${round}`));
  }
  const kept = [keepAlive(port), keepAlive(port)];
  t.after(() => kept.forEach((client) => client.close()));
  await kept[0].request();
  const [{ activeConnections }] = (await kept[1].request()).json();
  assert.equal(activeConnections, 2);
});

/** A worker that leaves by itself when it is asked to. */
async function leaving(t, workers, config) {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port, workers, config }) => {
      const { createServer } = require('drover');
      // Each in its turn, however busy the machine is; a replacement may take its time to start.
      const loadBalancing = { healthAware: false, queueTimeout: '1m' };
      const app = createServer({ cluster: { enabled: true, config: { workers, loadBalancing, ...config } } });
      app.get('/', (_, response) => response.send(`${process.pid}`));
      app.get('/slow', (_, response) => setTimeout(() => response.send(`${process.pid}`), 700));
      app.get('/for-ever', (_, response) => response.write('begun'));
      process.on('SIGUSR2', async () => {
        const stops = [app.stopCluster(), app.stopCluster()];
        await stops[0];
        console.log(`DRAINED ${process.pid} ${stops[0] === stops[1]}`);
      });
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port, workers, config } },
  );
  await cluster.until(/the cluster is ready/);
  return { cluster, port, pids: cluster.others() };
}

test('stopCluster in a worker drains that worker alone, which then ends with 0 and is replaced', async (t) => {
  const { cluster, port, pids } = await leaving(t, 2);
  const slow = [request(port, { path: '/slow' }), request(port, { path: '/slow' })];
  await visit(port, 4);
  process.kill(pids[0], 'SIGUSR2');
  const load = visit(port, 300);
  await cluster.until(new RegExp(`DRAINED ${pids[0]} true`));
  assert.deepEqual((await Promise.all(slow)).map(({ body }) => Number(body)).sort(), [...pids].sort());
  await load;
  await cluster.event('worker:exit', { workerPid: pids[0], reason: 'stopped', exitCode: 0 });
  await cluster.eventMany(3, 'worker:ready');
  const now = [...(await visit(port, 40)).keys()];
  assert.equal(now.length, 2);
  assert.ok(now.includes(pids[1]) && !now.includes(pids[0]));
});

test('when the only worker leaves, clients wait for its replacement', async (t) => {
  const { cluster, port, pids } = await leaving(t, 1);
  process.kill(pids[0], 'SIGUSR2');
  await cluster.until(/DRAINED/);
  const seen = await visit(port, 20);
  assert.ok(!seen.has(pids[0]));
});

test('a worker that drains on its own is killed when its deadline passes', async (t) => {
  const config = { processManagement: { gracefulShutdownTimeout: 1000, killTimeout: 400 } };
  const { cluster, port, pids } = await leaving(t, 1, config);
  const stuck = request(port, { path: '/for-ever' }).catch(({ code }) => code);
  await request(port);
  process.kill(pids[0], 'SIGUSR2');
  assert.equal(await stuck, 'ECONNRESET');
  await cluster.eventMany(2, 'worker:ready');
  await visit(port, 4);
});

for (const way of ['one process', 'drover']) {
  test(`${way}: closing the only server ends idle connections at once, and busy ones after their response`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      inWay(
        way,
        ({ port }) => {
          const server = require('node:http').createServer((request, response) => {
            if (request.url === '/close') server.close(() => console.log('CLOSED'));
            if (request.url === '/slow') {
              process.once('SIGUSR2', () => response.end('slow'));
              console.log('SLOW');
              return;
            }
            response.end(`${process.pid}`);
          });
          // A program that knows its sockets: none of them moves to another worker.
          server.on('connection', (socket) => socket.on('close', () => {}));
          server.keepAliveTimeout = 60_000;
          server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
        },
        { port, config: { workers: 1 } },
      ),
    );
    await run.until(/LISTENS/);
    const [idle, closing] = [new Agent({ keepAlive: true }), new Agent({ keepAlive: true })];
    const { body: pid } = await request(port, { agent: idle });
    const [socket] = Object.values(idle.freeSockets)[0];
    const slow = request(port, { path: '/slow' });
    await run.until(/SLOW/);
    const gone = once(socket, 'close');
    await request(port, { agent: closing, path: '/close' });
    await gone;
    assert.doesNotMatch(run.stdout, /CLOSED/);
    process.kill(Number(pid), 'SIGUSR2');
    assert.equal((await slow).body, 'slow');
    closing.destroy();
    await run.until(/CLOSED/);
  });
}

for (const way of ['one process', 'drover']) {
  test(`${way}: responses while the only server closes have the headers that Node sends`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      inWay(
        way,
        ({ port }) => {
          const server = require('node:http').createServer((_, response) => {
            server.close();
            response.end('ok');
          });
          server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
        },
        { port, config: { workers: 1 } },
      ),
    );
    await run.until(/LISTENS/);
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const { headers, body } = await request(port, { agent });
    assert.deepEqual([body, headers.connection], ['ok', 'keep-alive']);
  });
}
