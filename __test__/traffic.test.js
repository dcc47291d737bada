'use strict';

// What workers carry and clean up: bytes of connections as the client counts them, requests of HTTP/2, garbage
// collections as the runtime itself counts them.

const assert = require('node:assert/strict');
const http2 = require('node:http2');
const net = require('node:net');
const tls = require('node:tls');
const { once } = require('node:events');
const { test } = require('node:test');
const { createCertificate } = require('./helpers/certificate');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');

/** One worker. /gc collects and tells what the runtime has seen of it; other paths answer with their length as a number. */
function carrying({ port, kind, tls }) {
  const { PerformanceObserver, constants } = require('node:perf_hooks');
  const { createServer } = require('drover');
  const seen = { minor: 0, major: 0, incremental: 0, weakcb: 0 };
  const names = {
    [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
    [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
    [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
    [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
  };
  const observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries()) seen[names[detail.kind]] += 1;
  });
  // Bun's observer tells of no collections, its profiler does.
  const profiler = process.versions.bun && new (require('node:v8').GCProfiler)();
  if (process.env.CLUSTER_WORKER && profiler) profiler.start();
  else if (process.env.CLUSTER_WORKER) observer.observe({ entryTypes: ['gc'] });
  const collectMinor = profiler ? require('bun:jsc').edenGC : () => globalThis.gc({ type: 'minor' });
  const listener = (request, response) => {
    if (request.url === '/gc') {
      for (let at = 0; at < 3; at += 1) profiler ? globalThis.Bun.gc(true) : globalThis.gc();
      for (let at = 0; at < 5; at += 1) collectMinor();
      if (profiler) for (const { gcType } of profiler.stop().statistics) seen[gcType === 'Scavenge' ? 'minor' : 'major'] += 1;
      // Node tells of a collection on a later turn.
      return setTimeout(() => response.end(JSON.stringify(seen)), 200);
    }
    if (request.url === '/late') return undefined;
    if (request.url === '/broken') response.statusCode = 500;
    return request.resume().on('end', () => response.end('x'.repeat(Number(request.url.slice(1)) || 0)));
  };
  const make = {
    http: () => require('node:http').createServer(listener),
    https: () => require('node:https').createServer(tls, listener),
    h2c: () => require('node:http2').createServer(listener),
    h2: () => require('node:http2').createSecureServer({ ...tls, allowHTTP1: true }, listener),
  }[kind];
  const config = { workers: 1, execArgv: ['--expose-gc'], monitoring: { port: 0 } };
  const app = createServer({ app: make(), cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function serving(t, kind) {
  const port = await freePort();
  const cluster = program(t, carrying, { given: { port, kind, tls: createCertificate() } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

const stats = async (api) => (await request(api, { path: '/cluster/stats' })).json();

/** The first stats of which this is true. */
async function when(api, holds) {
  for (;;) {
    const told = await stats(api);
    if (holds(told)) return told;
  }
}

/** The connection below, which counts what is on the wire, and a client's socket over it. */
async function connect(port, kind) {
  const wire = net.connect(port, '127.0.0.1');
  await once(wire, 'connect');
  if (kind === 'http' || kind === 'h2c') return { wire, socket: wire };
  const socket = tls.connect({ socket: wire, rejectUnauthorized: false, ALPNProtocols: kind === 'h2' ? ['h2'] : [] });
  await once(socket, 'secureConnect');
  return { wire, socket };
}

for (const kind of ['http', 'https']) {
  test(`bytes are those on the wire, once (${kind})`, async (t) => {
    const { port, api } = await serving(t, kind);
    const { wire, socket } = await connect(port, kind);
    socket.resume();
    socket.write('GET /100000 HTTP/1.1\r\nHost: a\r\n\r\n');
    await when(api, ({ responses }) => responses['2xx'] === 1);
    socket.write('POST /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 50000\r\n\r\n');
    socket.end('y'.repeat(50_000));
    await once(socket, 'close');
    const { activeConnections, ...told } = await when(api, (now) => now.activeConnections === 0 && now.bytesSent > 0);
    assert.equal(activeConnections, 0);
    const handled = { received: told.bytesReceived, sent: told.bytesSent };
    assert.ok(handled.received > 50_000 && handled.sent > 100_000);
    // Below TLS the client's own figures leave out what its runtime writes by itself.
    if (kind === 'http') assert.deepEqual(handled, { received: wire.bytesWritten, sent: wire.bytesRead });
    else assert.ok(handled.received < 60_000 && handled.sent < 110_000, JSON.stringify(handled));
  });
}

test('an open connection is counted as of its responses, once a second', async (t) => {
  const { port, api } = await serving(t, 'http');
  const { socket } = await connect(port, 'http');
  t.after(() => socket.destroy());
  socket.resume();
  let sent = 0;
  do {
    socket.write('GET /1000 HTTP/1.1\r\nHost: a\r\n\r\n');
    sent += 1;
    await when(api, ({ responses }) => responses['2xx'] === sent);
  } while ((await stats(api)).bytesSent === 0);
  assert.ok((await stats(api)).bytesSent > 1000);
});

for (const kind of ['h2c', 'h2']) {
  test(`an open session of HTTP/2 is counted as of its streams, once a second (${kind})`, async (t) => {
    const { port, api } = await serving(t, kind);
    const { socket } = await connect(port, kind);
    const session = http2.connect(`http://127.0.0.1:${port}`, { createConnection: () => socket });
    t.after(() => session.destroy());
    do {
      const stream = session.request({ ':path': '/5000' });
      stream.resume();
      await once(stream, 'close');
    } while ((await stats(api)).bytesSent < 5000);
    const { bytesSent, activeConnections } = await stats(api);
    assert.ok(bytesSent > 5000 && activeConnections === 1, `${bytesSent}`);
  });
}

for (const kind of ['h2c', 'h2']) {
  test(`requests of HTTP/2 are counted as others are (${kind})`, async (t) => {
    const { port, api } = await serving(t, kind);
    const { socket } = await connect(port, kind);
    const session = http2.connect(`http://127.0.0.1:${port}`, { createConnection: () => socket });
    t.after(() => session.destroy());
    const ask = async (path) => {
      const stream = session.request({ ':path': path });
      stream.resume();
      await once(stream, 'close');
    };
    for (let at = 0; at < 20; at += 1) await ask('/5000');
    await ask('/broken');
    const late = session.request({ ':path': '/late' });
    await when(api, ({ activeRequests, totalRequests }) => activeRequests === 1 && totalRequests === 22);
    late.close(http2.constants.NGHTTP2_CANCEL);
    const told = await when(api, ({ activeRequests }) => activeRequests === 0);
    assert.deepEqual([told.totalRequests, told.responses['2xx'], told.responses['5xx'], told.totalErrors], [22, 20, 1, 2]);
    session.close();
    const { bytesSent } = await when(api, (now) => now.activeConnections === 0 && now.bytesSent > 0);
    assert.ok(bytesSent > 100_000 && bytesSent < 110_000, `${bytesSent}`);
  });
}

test('garbage collections are those that the runtime counts', async (t) => {
  const { port, api } = await serving(t, 'http');
  const before = (await stats(api)).gc;
  const seen = (await request(port, { path: '/gc' })).json();
  await when(api, ({ gc }) => gc.count >= before.count + 8);
  const { body } = await request(api, { path: '/metrics' });
  const counted = (kind) => {
    const line = new RegExp(`^nodejs_gc_duration_seconds_count{worker="0",kind="${kind}"} (.*)$`, 'm');
    return Number(body.match(line)[1]);
  };
  assert.ok(seen.major >= 3 && seen.minor >= 5, JSON.stringify(seen));
  // drover is there before the program's observer.
  for (const [kind, count] of Object.entries(seen)) assert.ok(counted(kind) >= count && counted(kind) <= count + 5, `${kind}: ${counted(kind)}, not ${count}`);
  const { count, time } = (await stats(api)).gc;
  assert.ok(count >= before.count + 8 && time > before.time);
});
