'use strict';

// A listener of the user's that throws: what Node itself does, and no harm to the connections beside it.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { printed } = require('./helpers/runtime');

/** A server whose 'connection' listener throws for every third connection, and a program that lives on. */
function throwing({ port, dispatch }) {
  const net = require('node:net');
  const { createServer } = require('drover');
  let count = 0;
  const server = net.createServer();
  server.on('connection', (socket) => {
    count += 1;
    if (count % 3 === 0) {
      socket.destroy();
      throw new Error(`thrown by connection ${count}`);
    }
    socket.end('served\n');
  });
  process.on('uncaughtException', ({ message }, origin) => console.log(`CAUGHT ${origin} ${message}`));
  const app = createServer({
    app: server,
    cluster: { enabled: true, config: { workers: 1, loadBalancing: { dispatch } } },
  });
  app.start(port, '127.0.0.1').then(() => console.log(`SERVES ${process.pid}`));
}

/** Connects; resolves to a promise of all that the server said. */
async function visit(port) {
  const socket = net.connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  let text = '';
  socket.on('data', (piece) => (text += piece));
  const over = once(socket, 'close').then(
    () => text,
    (error) => error.code,
  );
  return { over };
}

for (const [how, dispatch, env] of [
  ['one process, for comparison', 'auto', { CLUSTER_ENABLED: 'false' }],
  ['pushed', 'push', {}],
  ['accepted directly', 'direct', {}],
]) {
  test(`${how}: a 'connection' listener that throws does not affect other connections of its batch`, async (t) => {
    const port = await freePort();
    const server = program(t, throwing, { given: { port, dispatch }, env });
    await server.until(dispatch === 'auto' ? /SERVES/ : /SERVES.*SERVES/s);
    const pid = dispatch === 'auto' ? server.pid : server.others()[0];
    // Stopped, so that nine connections come in one batch.
    process.kill(pid, 'SIGSTOP');
    const visits = [];
    for (let count = 0; count < 9; count += 1) visits.push(await visit(port));
    process.kill(pid, 'SIGCONT');
    const said = await Promise.all(visits.map(({ over }) => over));
    assert.equal(said.filter((text) => text === 'served\n').length, 6, JSON.stringify(said));
    await server.untilMany(3, /CAUGHT uncaughtException thrown by connection \d/);
    const caught = [...server.stdout.matchAll(/CAUGHT uncaughtException thrown by connection (\d)/g)].map(([, count]) => count);
    assert.deepEqual(caught, ['3', '6', '9']);
    assert.equal(await (await visit(port)).over, 'served\n');
  });
}

test("a 'connection' listener that throws ends a worker that does not catch it, as it ends a process", async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const server = http.createServer((_, response) => response.end('served'));
      let first = process.env.WORKER_ID === '0';
      server.on('connection', () => {
        if (first && app.getAllWorkers()[0].generation === 1) throw new Error('thrown by the first connection');
        first = false;
      });
      const config = { workers: 2, loadBalancing: { healthAware: false } };
      const app = createServer({ app: server, cluster: { enabled: true, config } });
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  const answers = [];
  for (let count = 0; count < 4; count += 1) answers.push(await request(port).catch(({ code }) => code));
  const failed = answers.filter((answer) => typeof answer === 'string');
  assert.deepEqual(failed, ['ECONNRESET']);
  await cluster.until(new RegExp(printed('Error', 'thrown by the first connection')));
  await cluster.eventMany(3, 'worker:ready');
  for (let count = 0; count < 4; count += 1) assert.equal((await request(port)).body, 'served');
});

test("a 'request' listener that throws reaches uncaughtException, and the worker serves on when it is caught", async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const server = http.createServer((request, response) => {
        if (request.url === '/throw') {
          response.destroy();
          throw new Error('thrown by a request');
        }
        response.end(`${process.pid}`);
      });
      process.on('uncaughtException', ({ message }, origin) => console.log(`CAUGHT ${origin} ${message}`));
      const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 1 } } });
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  const [pid] = cluster.others();
  await assert.rejects(request(port, { path: '/throw' }), { code: 'ECONNRESET' });
  await cluster.until(/CAUGHT uncaughtException thrown by a request/);
  assert.equal((await request(port)).body, `${pid}`);
});
