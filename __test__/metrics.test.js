'use strict';

// What the cluster tells about itself: the same in every process, exact, and never going back.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { setTimeout: pause } = require('node:timers/promises');
const { connect } = require('./helpers/connection');
const { freePort, keepAlive, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');

/**
 * Rolls at SIGWINCH. /slow takes as long as it is asked to, /timed as well and prints how long that was, /held until its
 * client has sent all, /block answers and stands still for as long, /status answers so, /metrics and /health as the API
 * does.
 */
function measured({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    if (pathname === '/slow') return setTimeout(() => response.end('slow'), Number(searchParams.get('ms')));
    if (pathname === '/timed') {
      const began = performance.now();
      return setTimeout(() => {
        response.end('timed');
        console.log(`TOOK ${performance.now() - began} ms`);
      }, Number(searchParams.get('ms')));
    }
    if (pathname === '/held') return request.resume().on('end', () => response.end());
    if (pathname === '/block') {
      const block = () => {
        for (const until = performance.now() + Number(searchParams.get('ms')); performance.now() < until; );
      };
      response.once('finish', () => setImmediate(block));
    }
    if (pathname === '/metrics') return response.end(JSON.stringify(await app.getClusterMetrics()));
    if (pathname === '/health') return response.end(JSON.stringify(await app.getClusterHealth()));
    if (pathname === '/status') response.statusCode = Number(searchParams.get('code'));
    response.end(String(process.pid));
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, loadBalancing: { healthAware: false }, ...config } } });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
    process.on('SIGUSR2', async () => console.log(`PRIMARY ${JSON.stringify(await app.getClusterMetrics())}`));
    console.log('the cluster is ready');
  });
}

/** The API's own port is any that is free. */
async function serving(t, config = {}) {
  const port = await freePort();
  const given = { port, config: { monitoring: { port: 0, ...config.monitoring }, ...config.rest } };
  const cluster = program(t, measured, { given });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

const stats = async (api) => (await request(api, { path: '/cluster/stats' })).json();

/** What only grows: the samples of all counters and histograms of `/metrics`, by name and labels. */
async function growing(api) {
  const { body } = await request(api, { path: '/metrics' });
  const samples = new Map();
  let grows = false;
  for (const line of body.split('\n')) {
    if (line.startsWith('# TYPE')) grows = /(counter|histogram)$/.test(line);
    const end = line.lastIndexOf(' ');
    if (grows && !line.startsWith('#') && end > 0) samples.set(line.slice(0, end), Number(line.slice(end + 1)));
  }
  return samples;
}

/** The value of a line of `/metrics`, summed over workers. */
async function exported(api, name) {
  const { body } = await request(api, { path: '/metrics' });
  const lines = body.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

test('requests are counted exactly, by status, across rolls and workers', async (t) => {
  const { cluster, port, api } = await serving(t);
  const sent = { 200: 40, 404: 7, 500: 3, 302: 2 };
  for (let half = 0; half < 2; half += 1) {
    for (const [code, count] of Object.entries(sent)) {
      for (let at = 0; at < count; at += 1) await request(port, { path: `/status?code=${code}` });
    }
    if (half > 0) break;
    cluster.signal('SIGWINCH');
    await cluster.until(/ROLLED/);
  }
  const { totalRequests, responses, totalErrors, workers } = await stats(api);
  assert.equal(totalRequests, 104);
  assert.deepEqual(responses, { '1xx': 0, '2xx': 80, '3xx': 4, '4xx': 14, '5xx': 6 });
  assert.equal(totalErrors, 6);
  assert.equal(workers.reduce((sum, { requestCount }) => sum + requestCount, 0), 104);
  assert.equal(await exported(api, 'http_requests_total'), 104);
  assert.equal(await exported(api, 'http_request_duration_seconds_count'), 104);
});

test('requests of a killed worker stay counted; no counter decreases over restarts', async (t) => {
  const processManagement = { restartDelay: 10, maxRestartDelay: 10, maxRestarts: 100 };
  const { cluster, port, api } = await serving(t, { rest: { processManagement } });
  let last = await growing(api);
  assert.ok(last.size > 50, `${last.size} samples`);
  let sent = 0;
  for (let round = 0; round < 20; round += 1) {
    const pid = Number((await request(port)).body);
    sent += 1;
    process.kill(pid, 'SIGKILL');
    await cluster.replacement(pid);
    const now = await growing(api);
    for (const [name, before] of last) assert.ok(now.get(name) >= before, `${name} was ${before} and is ${now.get(name)}`);
    last = now;
  }
  assert.equal(await exported(api, 'http_requests_total'), sent);
});

test('under load, across a roll and a kill, exactly the responses that were sent are counted', async (t) => {
  const { cluster, port, api } = await serving(t, { rest: { processManagement: { restartDelay: 10 } } });
  const CLIENTS = 16;
  let [sent, answered, busy] = [0, 0, true];
  const client = async () => {
    const own = keepAlive(port);
    while (busy) {
      sent += 1;
      // One that a kill cut off was in flight.
      const came = await own.request({ path: '/slow?ms=2' }).then(() => 1, () => 0);
      answered += came;
    }
    own.close();
  };
  const load = Promise.all(Array.from({ length: CLIENTS }, client));
  const after = async (count) => {
    for (const goal = answered + count; answered < goal; ) await new Promise(setImmediate);
  };
  await after(500);
  cluster.signal('SIGWINCH');
  await cluster.until(/ROLLED/);
  await after(500);
  const [victim] = (await stats(api)).workers;
  process.kill(victim.pid, 'SIGKILL');
  await cluster.replacement(victim.pid);
  await after(500);
  busy = false;
  await load;
  const { totalRequests } = await stats(api);
  assert.ok(answered <= totalRequests && totalRequests <= sent, JSON.stringify({ sent, answered, totalRequests }));
  assert.ok(sent - answered <= CLIENTS, JSON.stringify({ sent, answered }));
  assert.equal(await exported(api, 'http_requests_total'), totalRequests);
});

test('pending requests of a dead worker are counted as aborted, and no longer as in flight', async (t) => {
  const { cluster, port, api } = await serving(t);
  // Rates are of what comes after the first look.
  await stats(api);
  await request(port);
  const cut = Promise.allSettled(Array.from({ length: 6 }, () => request(port, { path: '/slow?ms=600000' })));
  await become(api, ({ activeRequests }) => activeRequests === 6);
  for (const pid of cluster.others()) process.kill(pid, 'SIGKILL');
  for (const { reason } of await cut) assert.equal(reason.code, 'ECONNRESET');
  const told = await become(api, ({ activeRequests, totalErrors }) => activeRequests === 0 && totalErrors === 6);
  assert.deepEqual([told.totalRequests, told.responses['2xx']], [7, 1]);
  assert.equal(await exported(api, 'http_requests_aborted_total'), 6);
  await become(api, ({ errorRate }) => Math.abs(errorRate - 6 / 7) < 0.001);
});

test('a request whose client leaves is counted only as aborted', async (t) => {
  const { port, api } = await serving(t);
  const client = await connect(t, port);
  client.write('GET /slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  while ((await stats(api)).activeRequests !== 1);
  client.close();
  while ((await stats(api)).activeRequests !== 0);
  const { totalRequests, totalErrors, responses } = await stats(api);
  assert.deepEqual([totalRequests, totalErrors, responses['2xx']], [1, 1, 0]);
});

test('percentiles are within three percent of the handlers’ durations', async (t) => {
  const { cluster, port, api } = await serving(t);
  await stats(api);
  // No percentile is the longest of its kind: the first one's handler has to be compiled before it takes the time.
  const times = [...Array(10).fill(250), ...Array(6).fill(600)];
  // One after the other: of those that come at once a later one waits for the handlers of the others.
  for (const ms of times) await request(port, { path: `/timed?ms=${ms}` });
  const printed = await cluster.untilMany(times.length, /TOOK (.*) ms/);
  const took = printed.map(([, text]) => Number(text)).sort((a, b) => a - b);
  // Sampled once a second: until it is of all of them.
  await become(api, (told) =>
    Object.entries({ p50: 0.5, p90: 0.9 }).every(([name, part]) => {
      const exact = took[Math.ceil(times.length * part) - 1];
      // A handler's clock starts a little later than the request, and stops later than its response.
      return Math.abs(told[name] - exact) <= 0.03 * exact + 4;
    }),
  );
});

test('the primary, every worker and the API return the same metrics', async (t) => {
  const { cluster, port, api } = await serving(t);
  await request(port);
  await cluster.signal('SIGUSR2');
  const [, primary] = await cluster.until(/^PRIMARY (.*)$/m);
  const worker = (await request(port, { path: '/metrics' })).json();
  const over = await stats(api);
  const keys = (metrics) => Object.keys(metrics).sort();
  assert.deepEqual(keys(JSON.parse(primary)), keys(worker));
  assert.deepEqual(keys(over), keys(worker));
  assert.deepEqual([worker.totalWorkers, over.totalWorkers, JSON.parse(primary).totalWorkers], [2, 2, 2]);
  const health = (await request(port, { path: '/health' })).json();
  assert.deepEqual([health.healthy, health.status, health.unhealthyWorkers], [true, 'healthy', []]);
});

test('a worker is sampled: memory, processor, descriptors, the event loop', async (t) => {
  const { port, api } = await serving(t);
  for (let at = 0; at < 20; at += 1) await request(port);
  let workers;
  do ({ workers } = await stats(api));
  while (workers.some(({ memoryUsage }) => memoryUsage === null));
  for (const { memoryUsage, cpuUsage, eventLoopLag, pid } of workers) {
    const resident = Number(fs.readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4096;
    assert.ok(Math.abs(memoryUsage - resident) < resident / 2, `${memoryUsage} for ${resident}`);
    assert.ok(cpuUsage >= 0 && eventLoopLag >= 0);
  }
  assert.ok((await exported(api, 'process_open_fds')) > 10);
  assert.ok((await exported(api, 'nodejs_heap_size_used_bytes')) > 1e6);
});

/** The cluster's metrics when they are as wanted. */
async function become(api, wanted) {
  const until = performance.now() + 60_000;
  for (;;) {
    const now = await stats(api);
    if (wanted(now)) return now;
    assert.ok(performance.now() < until, `not as wanted: ${JSON.stringify(now)}`);
    // The cluster is sampled once a second, and asking without a pause would be what it measures.
    await pause(100);
  }
}

test('a blocked event loop is reported while it is blocked, not afterwards', async (t) => {
  const rest = { workers: 1, processManagement: { hangTimeout: 0 }, healthCheck: { enabled: false } };
  const { cluster, port, api } = await serving(t, { rest });
  await become(api, ({ workers: [worker] }) => worker.memoryUsage !== null);
  await request(port, { path: '/block?ms=60000' });
  const before = await become(api, ({ eventLoopLag }) => eventLoopLag >= 1000);
  await become(api, ({ eventLoopLag }) => eventLoopLag >= before.eventLoopLag + 1000);
  assert.ok((await exported(api, 'nodejs_eventloop_lag_seconds')) >= 2);
  // A worker can use one processor, however many there are.
  await become(api, ({ cpuUsage, workers: [worker] }) => cpuUsage > 10 && Math.abs(cpuUsage - worker.cpuUsage) < 1);
  cluster.signal('SIGKILL');
});

test('metrics include draining workers: their requests, connections and memory', async (t) => {
  const { cluster, port, api } = await serving(t, { rest: { workers: 1 } });
  const client = await connect(t, port);
  client.write('POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n');
  await become(api, ({ activeRequests, memoryUsage }) => activeRequests === 1 && memoryUsage > 0);
  cluster.signal('SIGWINCH');
  await cluster.event('worker:draining');
  const { workers: [worker] } = await become(api, ({ memoryUsage, workers: [now] }) => now.memoryUsage !== null && memoryUsage > now.memoryUsage * 1.5);
  assert.deepEqual([worker.generation, worker.activeRequests, worker.activeConnections], [2, 1, 1]);
  assert.equal(await exported(api, 'http_requests_in_flight'), 1);
  assert.equal(await exported(api, 'http_connections_open'), 1);
  client.write('.');
  assert.equal((await client.response()).status, 200);
  await cluster.until(/ROLLED/);
  await become(api, ({ activeRequests, activeConnections }) => activeRequests === 0 && activeConnections === 0);
});

/** Tells what 'metrics:updated' brings, in the primary and in a worker. */
function updated({ port }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((_, response) => response.end('ok')),
    cluster: { enabled: true, config: { workers: 1, monitoring: { port: false, metricsInterval: 1000 } } },
  });
  const who = app.isPrimary ? 'PRIMARY' : 'WORKER';
  app.cluster.on('metrics:updated', ({ metrics, timestamp }) => {
    console.log(`${who} ${metrics.totalWorkers} ${metrics.workers.length} ${timestamp > 0}`);
  });
  app.start(port, '127.0.0.1');
}

test('metrics:updated comes every metricsInterval, in the primary and in workers that listen', async (t) => {
  const cluster = program(t, updated, { given: { port: await freePort() } });
  await cluster.untilMany(2, /PRIMARY 1 1 true/);
  await cluster.until(/WORKER 1 1 true/);
});

test('without monitoring nothing is counted of requests beyond what dispatch needs', async (t) => {
  const port = await freePort();
  const cluster = program(t, measured, { given: { port, config: { monitoring: { enabled: false } } } });
  await cluster.until(/the cluster is ready/);
  await request(port, { path: '/status?code=404' });
  const { totalRequests, responses, requestsPerSecond } = (await request(port, { path: '/metrics' })).json();
  assert.deepEqual([totalRequests, responses['4xx'], requestsPerSecond], [2, 0, 0]);
});
