'use strict';

// What the program measures and exports by itself, every metricsInterval: customMetrics and exporters.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');

/** `custom` and `exporter` name what they do; a worker prints what metrics:updated brings. */
function reporting({ port, custom, exporter, interval = 1000 }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  let calls = 0;
  const measures = {
    sums: async (workers) => ({
      calls: (calls += 1),
      totalMemory: workers.reduce((sum, one) => sum + one.memoryUsage, 0),
      pids: workers.map(({ pid }) => pid),
    }),
    plain: () => ({ calls: (calls += 1) }),
    throws() {
      calls += 1;
      if (calls < 4) throw new TypeError('no database');
      return { calls };
    },
    hangs: () => ((calls += 1) > 1 ? new Promise(() => {}) : { calls }),
    circle() {
      const value = {};
      value.value = value;
      return value;
    },
    number: () => 5,
    long: () => ({ text: 'x'.repeat(70_000) }),
  };
  let tries = 0;
  const exports = {
    tells: (metrics) => console.log(`EXPORTED ${metrics.custom.calls} ${metrics.totalWorkers}`),
    async fails() {
      tries += 1;
      console.log(`TRY ${tries} ${Math.round(performance.now())}`);
      throw new Error('no collector');
    },
    recovers() {
      tries += 1;
      if (tries < 3) throw new Error('busy');
      console.log(`RECOVERED ${tries}`);
    },
    hangs() {
      tries += 1;
      console.log(`HANGING ${tries}`);
      return new Promise(() => {});
    },
  };
  const monitoring = { port: 0, metricsInterval: interval };
  if (custom) monitoring.customMetrics = measures[custom];
  if (exporter) monitoring.exporters = exporter.length > 1 ? exporter.map((name) => exports[name]) : exports[exporter[0]];
  const app = createServer({
    app: http.createServer(async (_, response) => {
      response.end(JSON.stringify((await app.getClusterMetrics()).custom));
    }),
    cluster: { enabled: true, config: { workers: 2, monitoring } },
  });
  const who = app.isPrimary ? 'PRIMARY' : 'WORKER';
  app.cluster.on('metrics:updated', ({ metrics }) => console.log(`${who} UPDATED ${JSON.stringify(metrics.custom)}`));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function serving(t, given) {
  const port = await freePort();
  const cluster = program(t, reporting, { given: { port, ...given } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

for (const custom of ['sums', 'plain']) {
  test(`what customMetrics returns is custom in every process and over the API (${custom})`, async (t) => {
    const { cluster, port, api } = await serving(t, { custom });
    const [, primary] = await cluster.until(/PRIMARY UPDATED ({"calls":2.*})/);
    const [, worker] = await cluster.until(/WORKER UPDATED ({"calls":2.*})/);
    assert.equal(worker, primary);
    const { custom: told, workers } = (await request(api, { path: '/cluster/stats' })).json();
    assert.ok(told.calls >= 2);
    assert.ok((await request(port)).json().calls >= told.calls);
    if (custom === 'plain') return;
    assert.deepEqual(told.pids, workers.map(({ pid }) => pid));
    assert.ok(JSON.parse(primary).totalMemory > 1e7);
  });
}

test('an error of customMetrics is logged once, and its recovery too', async (t) => {
  const { cluster } = await serving(t, { custom: 'throws' });
  await cluster.until(/PRIMARY UPDATED {"calls":4}/);
  assert.equal(cluster.output.match(/customMetrics failed, .*TypeError: no database/g).length, 1);
  assert.ok(cluster.output.match(/PRIMARY UPDATED {}/g).length >= 3);
});

test('a customMetrics that never ends does not hold back other metrics', async (t) => {
  const { cluster } = await serving(t, { custom: 'hangs' });
  await cluster.untilMany(4, /PRIMARY UPDATED {"calls":1}/);
  assert.equal(cluster.output.match(/customMetrics still runs/g).length, 1);
});

for (const [custom, said] of [
  ['circle', /customMetrics failed, .*(?:circular|cyclic)/],
  ['number', /customMetrics must return an object: found 5/],
  ['long', /customMetrics must return an object: found 70011 bytes of JSON, allowed: at most 65536/],
]) {
  test(`an invalid result of customMetrics is logged once (${custom})`, async (t) => {
    const { cluster } = await serving(t, { custom });
    await cluster.untilMany(3, /PRIMARY UPDATED {}/);
    assert.equal(cluster.output.match(new RegExp(said, 'g')).length, 1);
  });
}

test('every exporter gets the metrics, custom ones included, at each interval', async (t) => {
  const { cluster } = await serving(t, { custom: 'plain', exporter: ['tells', 'tells'] });
  await cluster.until(/EXPORTED 1 2\n[^]*EXPORTED 1 2\n[^]*EXPORTED 2 2\n/);
});

test('a failing exporter is retried with increasing delays, and its failure logged', async (t) => {
  const { cluster } = await serving(t, { exporter: ['fails'] });
  await cluster.until(/monitoring\.exporters \(fails\) failed 4 times, its metrics are lost: Error: no collector/);
  const [first, ...later] = [...cluster.stdout.matchAll(/^TRY \d (\d+)$/gm)].slice(0, 4).map(([, at]) => Number(at));
  const pauses = later.map((at, index) => at - [first, ...later][index]);
  for (const [index, least] of [100, 200, 400].entries()) assert.ok(pauses[index] >= least - 5, `${pauses}`);
});

test('an exporter that recovers loses nothing, and one that hangs is not run concurrently', async (t) => {
  const { cluster } = await serving(t, { exporter: ['recovers'] });
  await cluster.until(/RECOVERED 3/);
  assert.doesNotMatch(cluster.output, /its metrics are lost/);
  const other = await serving(t, { exporter: ['hangs'] });
  await other.cluster.untilMany(3, /PRIMARY UPDATED/);
  await other.cluster.until(/exporters \(hangs\) still runs: metrics are not given to it meanwhile/);
  assert.equal(other.cluster.stdout.match(/HANGING/g).length, 1);
});

test('values that are not functions are refused', async (t) => {
  const port = await freePort();
  const started = program(
    t,
    ({ port }) => {
      const monitoring = { customMetrics: 5, exporters: ['a'] };
      try {
        require('drover').createServer({ cluster: { enabled: true, monitoring } }).start(port);
      } catch ({ details }) {
        console.log(details.faults.map(({ path }) => path).join());
      }
    },
    { given: { port } },
  );
  await started.until(/cluster\.monitoring\.customMetrics,cluster\.monitoring\.exporters/);
});
