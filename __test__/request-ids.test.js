'use strict';

// The id of a request: the client's or a new one, wherever the request's work goes on and on every line it writes.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connect } = require('./helpers/connection');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

function identified({ port, config, enabled = true }) {
  const http = require('node:http');
  const { setTimeout: wait } = require('node:timers/promises');
  const { createServer, requestId } = require('drover');
  const app = createServer({
    app: http.createServer(async (asked, response) => {
      const before = requestId();
      await wait(1 + Math.random() * 5);
      console.log(`plain ${asked.url}\nsecond ${asked.url}`);
      process.stdout.write(`half ${asked.url} `);
      process.stdout.write(Buffer.from('grüße\n'));
      console.error(`error ${asked.url}`);
      process.stdout.write(`${JSON.stringify({ level: 30, msg: `json ${asked.url}` })}\n`);
      response.end(JSON.stringify({ before, after: requestId() }));
    }),
    cluster: { enabled, config: { workers: 1, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => {
    console.log(`outside ${requestId()}`);
    if (app.isPrimary) console.log('the cluster is ready');
  });
}

async function serving(t, { logging = { requestIds: true }, ...more } = {}) {
  const port = await freePort();
  const config = { monitoring: { port: 0 }, logging };
  const cluster = program(t, identified, { given: { port, config, ...more } });
  await cluster.until(/the cluster is ready/);
  const ask = async (path, headers) => JSON.parse((await request(port, { path, headers })).body);
  return { cluster, port, ask };
}

const linesOf = (text) => text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));

test('a client’s id, a trace’s id, or a new one', async (t) => {
  const { ask } = await serving(t);
  assert.deepEqual(await ask('/1', { 'x-request-id': 'client-1' }), { before: 'client-1', after: 'client-1' });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  assert.equal((await ask('/2', { traceparent })).after, '0af7651916cd43dd8448eb211c80319c');
  const made = new Set();
  for (const headers of [{}, { 'x-request-id': 'not sane' }, { 'x-request-id': 'x'.repeat(129) }, { traceparent: 'no' }]) {
    const { before, after } = await ask('/3', headers);
    assert.match(before, /^[\da-f]{16}-\w+$/);
    assert.equal(after, before);
    made.add(after);
  }
  assert.equal(made.size, 4);
});

test('exactly the lines written during a request have its id', async (t) => {
  const { cluster, ask } = await serving(t);
  const paths = Array.from({ length: 20 }, (_, number) => `/${number}`);
  await Promise.all(paths.map((path) => ask(path, { 'x-request-id': `id${path}` })));
  for (const path of paths) await cluster.until(new RegExp(`error ${path}$`, 'm'));
  for (const path of paths) await cluster.until(new RegExp(`json ${path}"`));
  const lines = linesOf(cluster.raw);
  for (const path of paths) {
    for (const said of [`plain ${path}`, `second ${path}`, `half ${path} grüße`, `error ${path}`, `json ${path}`]) {
      const found = lines.filter(({ msg }) => msg === said);
      assert.deepEqual(found.map(({ requestId }) => requestId), [`id${path}`], said);
    }
  }
  assert.ok(lines.some(({ msg, requestId }) => msg === 'outside undefined' && requestId === undefined));
});

test('pipelined requests have different ids', async (t) => {
  const { cluster, port } = await serving(t);
  const client = await connect(t, port);
  const get = (number) => `GET /${number} HTTP/1.1\r\nHost: a\r\nX-Request-Id: p-${number}\r\n\r\n`;
  client.write(get(1) + get(2) + get(3));
  for (const number of [1, 2, 3]) {
    await cluster.until(new RegExp(`json /${number}"`));
    const [line] = linesOf(cluster.raw).filter(({ msg }) => msg === `json /${number}`);
    assert.equal(line.requestId, `p-${number}`);
  }
});

test('the first call of requestId() is enough, without a cluster too', async (t) => {
  for (const enabled of [true, false]) {
    const { ask } = await serving(t, { logging: {}, enabled });
    assert.equal((await ask('/', { 'x-request-id': 'client-1' })).after, 'client-1');
  }
});

/** Without a cluster, and nobody asks for an id before the first request. */
function single({ port }) {
  const http = require('node:http');
  const { createServer, requestId } = require('drover');
  const app = createServer({
    app: http.createServer((_, response) => response.end(String(requestId()))),
    cluster: { enabled: false, config: { logging: { requestIds: true } } },
  });
  app.start(port, '127.0.0.1').then(() => console.log('it is ready'));
}

test('with requestIds a process without a cluster has an id for the first request too', async (t) => {
  const port = await freePort();
  const process = program(t, single, { given: { port } });
  await process.until(/it is ready/);
  assert.equal((await request(port, { headers: { 'x-request-id': 'client-1' } })).body, 'client-1');
});
