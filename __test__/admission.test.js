'use strict';

// Adaptive admission: what is refused while all workers are saturated, and what is not.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http2 = require('node:http2');
const net = require('node:net');
const { test } = require('node:test');
const { createCertificate } = require('./helpers/certificate');
const { request } = require('./helpers/http');
const { KeptClient, RawClient, TARGET, assertRefused, blockAll, clients, refusal, saturate, start } = require('./helpers/overload');
const { program } = require('./helpers/program');

test('while every loop is blocked new connections get 503 with Retry-After from the primary, and exempt paths wait', async (t) => {
  const { port, run, metrics } = await start(t, {});
  await blockAll(port, 1500);
  const blocked = performance.now();
  const { headers, body } = await refusal(port);
  assert.equal(headers['retry-after'], '1');
  assert.equal(headers.connection, 'close');
  assert.equal(body, 'Service Unavailable\n');
  const exempt = request(port, { path: '/health?a=b' });
  const times = [];
  for (let nth = 0; nth < 20; nth += 1) times.push((await refusal(port)).ms);
  assert.ok(performance.now() - blocked < 1400, `refused while the loops are blocked, not after ${performance.now() - blocked} ms`);
  t.diagnostic(`median of a refusal: ${times.sort((a, b) => a - b)[10].toFixed(2)} ms`);
  assert.equal((await exempt).status, 200);
  await run.event('overload:began');
  const { refusedConnections, totalErrors } = await metrics();
  assert.ok(refusedConnections >= 21, String(refusedConnections));
  assert.equal(totalErrors, 0);
});

test('a probe from outside on healthCheck.endpoint is not refused, whatever is exempt: by the primary or a worker', async (t) => {
  const healthCheck = { interval: 60_000, endpoint: '/healthz?from=drover' };
  const admission = { targetDelay: TARGET, exempt: ['/vital'] };
  const { port } = await start(t, { workers: 1, admission, config: { healthCheck } });
  const probe = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
  const kept = new RawClient(port);
  assert.equal((await kept.ask(probe))[0].status, 200);
  await request(port, { path: '/block?ms=1000' });
  await refusal(port);
  const outside = request(port, { path: '/healthz' });
  await refusal(port);
  assert.equal((await outside).status, 200);

  const load = saturate(port, 16);
  const statuses = [];
  try {
    for (const until = performance.now() + 30_000; (load.seen[503] ?? 0) < 50; ) {
      assert.ok(performance.now() < until, 'there was no overload');
      statuses.push((await kept.ask(probe))[0].status);
    }
  } finally {
    await load.end();
    kept.socket.destroy();
  }
  assert.deepEqual([...new Set(statuses)], [200]);
});

test('the beginning and the end of an overload are logged, each once, with what was refused', async (t) => {
  const { port, run } = await start(t, {});
  await blockAll(port, 500);
  await refusal(port);
  const { refusedConnections } = await run.event('overload:ended');
  assert.ok(refusedConnections >= 1);
  for (let nth = 0; nth < 20; nth += 1) assert.equal((await request(port)).status, 200);
  assert.equal(run.output.match(/overload:began/g).length, 1);
  assert.equal(run.output.match(/overload:ended/g).length, 1);
});

test('a connection whose request has not come when it would be refused is waited for, and served if the path is exempt', async (t) => {
  const { port } = await start(t, {});
  await blockAll(port, 1000);
  await refusal(port);
  const asks = async (path) => {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setEncoding('utf8').write('GET ');
    // Another connection is refused meanwhile: the first one has been looked at.
    await refusal(port);
    socket.write(`${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    let text = '';
    for await (const piece of socket) text += piece;
    return text.split(' ')[1];
  };
  assert.deepEqual(await Promise.all(['/ready', '/other'].map(asks)), ['200', '503']);
});

test('at more than the workers can do some is refused, the rest is in time, and nothing fails', async (t) => {
  const { port, run, metrics } = await start(t, {});
  const seen = {};
  let isOver = false;
  const load = clients(24, port, '/work?ms=10', () => isOver, seen);
  await run.event('overload:began');
  for (let nth = 0; nth < 20; nth += 1) {
    assert.equal((await request(port, { path: '/vital' })).status, 200);
  }
  isOver = true;
  await load;
  assert.deepEqual(Object.keys(seen).sort(), ['200', '503']);
  const { refusedConnections, refusedRequests, totalRequests, totalErrors } = await metrics();
  assert.equal(refusedConnections + refusedRequests, seen[503], 'everything refused is counted');
  assert.equal(totalRequests, seen[200] + 20, 'and is in no other count');
  assert.equal(totalErrors, 0);
});

test('on connections that a worker has, drover answers late requests before the program sees them', async (t) => {
  const { port, metrics } = await start(t, { workers: 1 });
  const [statuses, handled] = [[], []];
  const all = await new Promise((resolve) => {
    const clients = Array.from({ length: 16 }, () =>
      new KeptClient(port, '/work?ms=10', (response) => {
        const { status, body } = response;
        statuses.push(status);
        if (status === 200) return handled.push(Number(body.split(' ')[1]));
        assertRefused(response);
        if (statuses.filter((one) => one === 503).length === 20) resolve(clients);
      }),
    );
  });
  const vital = await new Promise((resolve) => {
    const client = new KeptClient(port, '/vital', ({ status }) => {
      void client.done();
      resolve(status);
    });
  });
  assert.equal(vital, 200);
  await Promise.all(all.map((client) => client.done()));
  const answered = statuses.filter((status) => status === 200).length;
  assert.ok(answered > 0 && Math.max(...handled) <= answered + 1, `${answered} answered, ${Math.max(...handled)} handled`);
  const { refusedConnections, refusedRequests, totalRequests, totalErrors } = await metrics();
  assert.deepEqual({ refusedConnections, totalErrors }, { refusedConnections: 0, totalErrors: 0 });
  assert.deepEqual([refusedRequests, totalRequests], [statuses.length - answered, answered + 1]);
});

test('streams of HTTP/2 that are late get 503 before the program sees them', async (t) => {
  const { port } = await start(t, { workers: 1, kind: 'http2', certificate: {} });
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const ask = async () => {
    const stream = session.request({ ':path': '/work?ms=10' });
    stream.resume().end();
    const [headers] = await once(stream, 'response');
    await once(stream, 'close');
    return headers;
  };
  const found = await new Promise((resolve, reject) => {
    const client = async () => {
      for (;;) {
        const headers = await ask();
        if (headers[':status'] !== 200) resolve(headers);
        if (session.destroyed) return;
      }
    };
    for (let nth = 0; nth < 16; nth += 1) client().catch(reject);
  });
  assert.equal(found[':status'], 503);
  assert.equal(found['retry-after'], '1');
});

test('while every loop is blocked connections to a TLS server are closed', async (t) => {
  const { key, cert } = createCertificate();
  const { port, run } = await start(t, { kind: 'https', certificate: { key, cert } });
  await blockAll(port, 1000, { secure: true });
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.on('error', () => {}).resume().once('close', resolve));
    socket.write('\x16\x03\x01');
    await closed;
    if (run.output.includes('overload:began')) break;
  }
});

test('in direct mode an overload is served in push mode: new connections are refused and the rest is served', async (t) => {
  const { port, run, metrics } = await start(t, { more: { dispatch: 'direct' } });
  const seen = {};
  let isOver = false;
  const load = clients(24, port, '/work?ms=10', () => isOver, seen);
  await run.event('overload:began');
  const before = await metrics();
  while ((await metrics()).refusedConnections === before.refusedConnections);
  isOver = true;
  await load;
  assert.deepEqual(Object.keys(seen).sort(), ['200', '503']);
});

test('a worker whose connection was refused before it had read it gets connections again', async (t) => {
  const { port, run } = await start(t, { workers: 1 });
  await request(port, { path: '/block?ms=500' });
  await refusal(port);
  // It has asked for a connection before it blocks, and is given the next one meanwhile.
  while ((await request(port, { path: '/block?in=30&ms=500' })).status !== 200);
  await run.event('overload:began');
  const until = performance.now() + 20_000;
  await refusal(port);
  while ((await request(port)).status !== 200) assert.ok(performance.now() < until, 'it never asked again');
  assert.equal(run.events('overload:ended').length, 0, 'it was one overload');
});

test('while all workers are stopped new connections are refused, and served again once they run', async (t) => {
  const { port, run } = await start(t, {});
  const workers = run.workers();
  for (const pid of workers) process.kill(pid, 'SIGSTOP');
  t.after(() => run.workers().forEach((pid) => process.kill(pid, 'SIGCONT')));
  await refusal(port);
  for (const pid of workers) process.kill(pid, 'SIGCONT');
  while ((await request(port)).status !== 200);
  assert.deepEqual(run.deaths, []);
});

test('without admission nothing is refused', async (t) => {
  const { port, run } = await start(t, { admission: 'off' });
  const seen = {};
  let left = 200;
  await clients(24, port, '/work?ms=5', () => left-- <= 0, seen);
  assert.deepEqual(Object.keys(seen), ['200']);
  assert.doesNotMatch(run.output, /overload/);
});

test('workers under Bun are refused with a sentence that says why', async (t) => {
  const run = program(
    t,
    () => {
      const { ClusterManager } = require('drover');
      const config = { exec: __filename, interpreter: '/opt/bun', loadBalancing: { admission: 'adaptive' } };
      new ClusterManager(config).start().catch(({ code, message }) => console.log(`REFUSED ${code} ${message}`));
    },
    {},
  );
  await run.until(/REFUSED CONFIGURATION_INVALID loadBalancing\.admission needs workers under Node\.js/);
});
