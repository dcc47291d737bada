'use strict';

// Connections that cannot go to another worker: their clients are told with a response, and have the time to ask
// for one.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { createCertificate } = require('./helpers/certificate');
const { connect } = require('./helpers/connection');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');

/** A connection that asks for nothing is closed after so long, milliseconds. */
const LINGER = 2000;

/** One worker, which rolls at SIGWINCH. The response to /long begins at once and ends long after its worker began to drain. */
function bound({ port, kind, config, tls, after }) {
  const { createServer } = require('drover');
  const listener = (request, response) => {
    if (kind === 'http') request.socket[Symbol.for('drover.pin')] = true;
    if (request.url === '/') return response.end(JSON.stringify({ pid: process.pid }));
    response.flushHeaders();
    app.cluster.once('worker:draining', () => setTimeout(() => response.end('{}'), after));
    console.log('BEGUN');
  };
  const servers = {
    http: () => require('node:http').createServer(listener),
    https: () => require('node:https').createServer(tls, listener),
    'http2 with allowHTTP1': () => require('node:http2').createSecureServer({ ...tls, allowHTTP1: true }, listener),
  };
  const app = createServer({ app: servers[kind](), cluster: { enabled: true, config: { workers: 1, ...config } } });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
    console.log('the cluster is ready');
  });
}

async function serving(t, kind, config) {
  const port = await freePort();
  const secure = kind !== 'http';
  const tls = secure ? createCertificate() : null;
  const cluster = program(t, bound, { given: { port, kind, config, tls, after: LINGER + 200 } });
  await cluster.until(/the cluster is ready/);
  return { cluster, port, connect: () => connect(t, port, { secure }) };
}

/**
 * Asks until the answer says close. The worker hears a little later than the log that it leaves, and an answer that
 * was made while the one before was on its way has its headers already.
 */
async function told(client) {
  let answer;
  do answer = await client.get();
  while (answer.headers.connection !== 'close');
  return answer;
}

const kinds = ['http', 'https', 'http2 with allowHTTP1'];

for (const kind of kinds) {
  test(`${kind}: a worker that leaves says Connection: close with its next response`, async (t) => {
    const { cluster, connect } = await serving(t, kind);
    const [old] = cluster.others();
    const client = await connect();
    await client.get();
    cluster.signal('SIGWINCH');
    await cluster.event('worker:draining');
    assert.equal((await told(client)).json().pid, old);
    assert.equal(await client.closed, undefined);
    await cluster.until(/ROLLED/);
  });
}

for (const kind of kinds) {
  for (const [way, signal] of [
    ['a roll', 'SIGWINCH'],
    ['a full stop', 'SIGTERM'],
  ]) {
    test(`${kind}, ${way}: a client whose response headers were sent before the drain may send one more request`, async (t) => {
      const { cluster, connect } = await serving(t, kind);
      const [old] = cluster.others();
      const client = await connect();
      const long = client.get('/long');
      await cluster.until(/BEGUN/);
      cluster.signal(signal);
      assert.equal((await long).headers.connection, 'keep-alive');
      assert.equal((await told(client)).json().pid, old);
    });
  }
}

test('handoff: false: an idle connection may carry one more request, whose response announces the close', async (t) => {
  const { cluster, connect } = await serving(t, 'http', { loadBalancing: { handoff: false } });
  const client = await connect();
  await client.get();
  cluster.signal('SIGWINCH');
  await cluster.event('worker:draining');
  await told(client);
  assert.equal(await client.closed, undefined);
});

test('a full stop: a client that just got a response may send one more request, whose response announces the close', async (t) => {
  const { cluster, connect } = await serving(t, 'http');
  const client = await connect();
  await client.get();
  cluster.signal('SIGTERM');
  await told(client);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
});

for (const kind of kinds) {
  test(`${kind}: a full stop waits one second for a client that just got a response, and no longer`, async (t) => {
    const { cluster, connect } = await serving(t, kind);
    const [client, silent] = [await connect(), await connect()];
    await client.get();
    const since = performance.now();
    cluster.signal('SIGTERM');
    assert.deepEqual([await client.closed, await silent.closed], [undefined, undefined]);
    const time = performance.now() - since;
    assert.ok(time > 900 && time < LINGER, `${time} ms`);
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  });
}

test('a full stop does not wait for a connection that was idle for long', async (t) => {
  const { cluster, connect } = await serving(t, 'http');
  const [client, fresh] = [await connect(), await connect()];
  await client.get();
  // Nothing happens on it for more than the second that it would have had.
  await wait(1200);
  await fresh.get();
  cluster.signal('SIGTERM');
  const first = await Promise.race([client.closed.then(() => 'silent'), fresh.closed.then(() => 'fresh')]);
  assert.equal(first, 'silent');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
});
