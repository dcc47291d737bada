'use strict';

// Metrics of the program's own: counted in every process, summed, kept when their worker is killed, and read by
// Prometheus.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');
const { python } = require('./helpers/python');

/** Counts what it is asked; /define defines, /end kills the worker after its answer. Rolls at SIGWINCH. */
function counting({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    const query = Object.fromEntries(searchParams);
    const answer = (body) => response.end(JSON.stringify(body ?? { pid: process.pid }));
    try {
      if (pathname === '/count') jobs.inc(Number(query.by), { queue: query.queue });
      if (pathname === '/observe') wait.observe({ queue: query.queue }, Number(query.value));
      if (pathname === '/gauge') open.set(Number(query.value));
      if (pathname === '/flood') {
        for (let at = 0; at < 5000; at += 1) jobs.inc({ queue: `queue ${at}` });
      }
      if (pathname === '/define') app.metrics[query.kind](query.name, query.help, query.labels?.split(','));
      if (pathname === '/metrics') return answer(await app.getClusterMetrics());
      answer();
    } catch ({ code, message }) {
      answer({ code, message });
    }
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, loadBalancing: { healthAware: false }, ...config } } });
  const jobs = app.metrics.counter('jobs_total', 'Jobs that are done.', ['queue']);
  const wait = app.metrics.histogram('wait_seconds', 'How long jobs wait.', ['queue'], { buckets: [0.1, 1] });
  const open = app.metrics.gauge('open_files', 'Files that are open.');
  const starts = app.cluster.metrics.counter('starts', 'Processes that were started.\nAll "kinds" \\ of them.');
  starts.inc();
  if (app.isWorker) app.onMessage('echo "it"', (text) => text);
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    jobs.inc({ queue: 'primary' }, 2);
    app.sendToWorker('0', 'echo "it"', 'back').then((answer) => console.log(`ECHO ${answer}`));
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
    console.log('the cluster is ready');
  });
}

async function serving(t, rest) {
  const port = await freePort();
  const cluster = program(t, counting, { given: { port, config: { monitoring: { port: 0 }, ...rest } } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

const ask = async (port, path) => (await request(port, { path })).json();
const userMetrics = async (api) => (await ask(api, '/cluster/stats')).userMetrics;
const valueOf = (metric, labels) =>
  metric?.values.find((one) => JSON.stringify(one.labels) === JSON.stringify(labels))?.value;

test('counters of all processes are summed, with the same sums in every process and over the API', async (t) => {
  const { port, api } = await serving(t);
  const pids = new Set();
  for (let at = 0; at < 20; at += 1) pids.add((await ask(port, '/count?queue=mail&by=1.5')).pid);
  assert.equal(pids.size, 2);
  for (const value of [0.0625, 0.1, 0.5, 3]) await ask(port, `/observe?queue=mail&value=${value}`);
  const told = await userMetrics(api);
  assert.equal(valueOf(told.jobs, { queue: 'mail' }), 30);
  assert.equal(valueOf(told.jobs, { queue: 'primary' }), 2);
  // Counted before the cluster was there.
  assert.equal(valueOf(told.starts, {}), 3);
  const [spread] = told.wait_seconds.values;
  const buckets = [{ le: 0.1, count: 2 }, { le: 1, count: 3 }];
  assert.deepEqual({ ...spread, sum: Math.round(spread.sum * 1e4) }, { labels: { queue: 'mail' }, count: 4, sum: 36625, buckets });
  assert.deepEqual((await ask(port, '/metrics')).userMetrics, told);
});

test('counters of a killed worker are kept, also after rolls; its gauges are dropped', async (t) => {
  const processManagement = { restartDelay: 10, maxRestartDelay: 10, maxRestarts: 100 };
  const { cluster, port, api } = await serving(t, { processManagement });
  let counted = 0;
  for (let round = 0; round < 6; round += 1) {
    const { pid } = await ask(port, '/count?queue=mail&by=1');
    counted += 1;
    await ask(port, '/gauge?value=5');
    process.kill(pid, 'SIGKILL');
    await cluster.replacement(pid);
    assert.equal(valueOf((await userMetrics(api)).jobs, { queue: 'mail' }), counted);
  }
  await ask(port, '/gauge?value=5');
  cluster.signal('SIGWINCH');
  await cluster.until(/ROLLED/);
  const told = await userMetrics(api);
  assert.equal(valueOf(told.jobs, { queue: 'mail' }), counted);
  // Those of the primary and of new workers.
  assert.equal(valueOf(told.open_files, {}), 0);
});

test('a metric name reserved by Prometheus or used by another metric is refused with a reason', async (t) => {
  const { port } = await serving(t);
  const define = (query) => ask(port, `/define?${new URLSearchParams({ help: 'Help.', kind: 'counter', ...query })}`);
  for (const [query, said] of [
    [{ name: 'a metric' }, /letters, digits/],
    [{ name: 'http_requests_total' }, /not drover's own, such as app_http_requests/],
    [{ name: 'jobs', kind: 'gauge' }, /exists and is another: a counter with labels \[queue\]/],
    [{ name: 'jobs', labels: 'queue,kind', help: 'Jobs that are done.' }, /exists and is another/],
    [{ name: 'more', labels: 'a-b' }, /label/],
    [{ name: 'wait_seconds_count' }, /samples are not those of the metric wait_seconds/],
  ]) {
    const { code, message } = await define(query);
    assert.equal(code, 'INVALID_ARGUMENT');
    assert.match(message, said);
  }
  assert.ok((await define({ name: 'jobs', labels: 'queue', help: 'Jobs that are done.' })).pid);
  for (const [path, said] of [
    ['/count?queue=mail&by=-1', /never goes back/],
    ['/count?queue=mail&by=x', /found NaN/],
    ['/count?by=1', /found {}, allowed: queue as well/],
    ['/gauge?value=x', /a finite number/],
  ]) {
    const { code, message } = await ask(port, path);
    assert.equal(code, 'INVALID_ARGUMENT');
    assert.match(message, said);
  }
});

test('too many label values are counted, logged once, and do no harm', async (t) => {
  const { cluster, port, api } = await serving(t);
  await ask(port, '/flood');
  await ask(port, '/flood');
  await cluster.until(/The metric jobs_total has no room for more values of its labels/);
  const { jobs } = await userMetrics(api);
  const counted = jobs.values.reduce((sum, { value }) => sum + value, 0);
  const { body } = await request(api, { path: '/metrics' });
  const [, dropped] = body.match(/^drover_metrics_dropped_total (.*)$/m);
  assert.ok(Number(dropped) > 0);
  assert.equal(counted + Number(dropped), 10_002);
  assert.equal(cluster.output.match(/has no room/g).length, 1);
});

const PARSE = `
import json, sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families
print(json.dumps({f.name: [f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
  for f in text_string_to_metric_families(sys.stdin.read())}))
`;

test("Prometheus' own parsers read them and the messages, whatever their labels are", async (t) => {
  const interpreter = await python(t, 'prometheus_client==0.26.0');
  if (interpreter === null) return;
  const { cluster, port, api } = await serving(t);
  await cluster.until(/ECHO back/);
  const queue = 'a "quoted" \\ back\nslashed ü, {x="y"}';
  await ask(port, `/count?by=2&queue=${encodeURIComponent(queue)}`);
  await ask(port, '/observe?queue=mail&value=0.5');
  for (const [format, accept] of [['text', 'text/plain'], ['openmetrics', 'application/openmetrics-text']]) {
    const { body } = await request(api, { path: '/metrics', headers: { accept } });
    const families = JSON.parse(execFileSync(interpreter, ['-c', PARSE, format], { input: body, encoding: 'utf8' }));
    assert.deepEqual(families.jobs[2].find(([, labels]) => labels.queue === queue), ['jobs_total', { queue }, 2], format);
    assert.deepEqual([families.wait_seconds[0], families.open_files[0]], ['histogram', 'gauge']);
    // The older format knows no quotes in a help.
    assert.equal(families.starts[1], 'Processes that were started.\nAll "kinds" \\ of them.', format);
    const counts = families.wait_seconds[2].map(([name, labels, value]) => [name, labels.le, value]);
    assert.deepEqual(counts, [
      ['wait_seconds_bucket', '0.1', 0],
      ['wait_seconds_bucket', '1.0', 1],
      ['wait_seconds_bucket', '+Inf', 1],
      ['wait_seconds_sum', undefined, 0.5],
      ['wait_seconds_count', undefined, 1],
    ]);
    const type = 'echo "it"';
    assert.deepEqual(families.drover_messages_sent[2], [['drover_messages_sent_total', { type }, 1]]);
    assert.deepEqual(families.drover_messages_received[2], [['drover_messages_received_total', { type }, 1]]);
    const [name, labels, count] = families.drover_message_answer_seconds[2].at(-1);
    assert.deepEqual([name, labels, count], ['drover_message_answer_seconds_count', { type, result: 'answered' }, 1]);
  }
});

/** Many series of many buckets each in every process, and workers that listen for what happens. */
function wide({ port }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const server = http.createServer((_, response) => response.end(String(process.pid)));
  const monitoring = { port: 0, metricsInterval: '1s' };
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 3, monitoring } } });
  const buckets = Array.from({ length: 100 }, (_, at) => at + 1);
  const wait = app.metrics.histogram('wait_seconds', 'How long jobs wait.', ['queue'], { buckets });
  for (let at = 0; at < 140; at += 1) wait.observe({ queue: `${'a queue of a long name '.repeat(4)}${process.pid} ${at}` }, 50);
  app.cluster.on('metrics:updated', ({ metrics }) => {
    const [spread] = metrics.userMetrics.wait_seconds?.values ?? [];
    console.log(`UPDATED ${process.pid} ${JSON.stringify(metrics).length} ${spread?.count}`);
  });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('metrics that are longer than a message of the cluster reach every process that listens', async (t) => {
  const cluster = program(t, wide, { given: { port: await freePort() } });
  await cluster.until(/the cluster is ready/);
  const all = [cluster.pid, ...cluster.others()];
  assert.equal(all.length, 4);
  for (const pid of all) await cluster.until(new RegExp(`UPDATED ${pid} [12]\\d{6} 1$`, 'm'));
  assert.deepEqual([cluster.pid, ...cluster.others()], all, 'nobody was ended');
});

test('buckets that are not finite numbers are refused with the value found', () => {
  const { createServer } = require('..');
  const { metrics } = createServer({ cluster: { enabled: false } });
  for (const bound of [Infinity, NaN, '5', null]) {
    assert.throws(() => metrics.histogram('odd_seconds', 'Odd.', [], { buckets: [1, bound] }), {
      code: 'INVALID_ARGUMENT',
      message: /odd_seconds: buckets: found \[ 1, .* \], allowed: at most 100 finite numbers, each above the last/,
    });
  }
});
