'use strict';

// The auto-scaling with real workers: it follows the load without losing a request, and says why.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const { test } = require('node:test');
const { monitoringPort } = require('./helpers/monitoring');
const { freePort, request } = require('./helpers/http');
const { write } = require('./helpers/program');
const { run } = require('./helpers/run');

/** Answers after 50 ms. At SIGWINCH the primary calls the method that the file of the order names. */
function scaled({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((asked, response) => {
      if (asked.url === '/optimal') {
        app.getOptimalWorkerCount().then((count) => response.end(String(count)), (error) => response.end(error.code));
      } else {
        setTimeout(() => response.end(process.env.WORKER_ID), 50);
      }
    }),
    cluster: { enabled: true, config: { workers: 2, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    app.cluster.on('scaling:decision', (decision) => console.log(`DECISION ${JSON.stringify(decision)}`));
    process.on('SIGWINCH', async () => {
      const [verb, ...args] = JSON.parse(require('node:fs').readFileSync(`${__filename}.order`, 'utf8'));
      const result = await app[verb](...args).catch(({ name, code, message }) => ({ name, code, message }));
      console.log(`RESULT ${JSON.stringify(result ?? null)}`);
    });
    console.log('the cluster is ready');
  });
}

async function cluster(t, autoScaling) {
  const port = await freePort();
  const config = { monitoring: { port: 0 }, autoScaling };
  const file = write(t, scaled, { given: { port, config } });
  const running = run(t, file);
  const api = await monitoringPort(running);
  await running.until(/the cluster is ready/);
  let asked = 0;
  const order = async (...call) => {
    fs.writeFileSync(`${file}.order`, JSON.stringify(call));
    running.signal('SIGWINCH');
    asked += 1;
    const [, result] = (await running.untilMany(asked, /^RESULT (.*)$/m)).at(-1);
    return JSON.parse(result);
  };
  const scaling = async () => (await request(api, { path: '/cluster/scaling' })).json();
  return { running, port, api, order, scaling };
}

/** Sends requests on so many keep-alive connections, one after the other on each, until it is stopped. */
function load(t, port, connections) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const counts = { answered: 0, failed: 0 };
  let stopped = false;
  const one = async () => {
    const asked = http.get({ port, host: '127.0.0.1', agent, path: '/' });
    const [response] = await once(asked, 'response');
    response.resume();
    await once(response, 'end');
    if (response.statusCode === 200) counts.answered += 1;
    else counts.failed += 1;
  };
  const client = async () => {
    while (!stopped) await one().catch(() => void (counts.failed += 1));
  };
  const clients = Promise.all(Array.from({ length: connections }, client));
  const stop = async () => {
    stopped = true;
    await clients;
    agent.destroy();
    return counts;
  };
  t.after(stop);
  return stop;
}

/** The scale of the issue: 40 requests in flight, 10 for each worker. */
const BY_REQUESTS = { enabled: true, minWorkers: 2, maxWorkers: 8, strategy: 'requests', requestsPerWorker: 10 };

test('a load of requests in flight scales 2 workers to 4 within two evaluations, and down after the window', async (t) => {
  const { running, port, scaling } = await cluster(t, {
    ...BY_REQUESTS,
    scaleUpThreshold: { consecutiveChecks: 1 },
    scaleDownThreshold: { idleTime: 0 },
    scaleDownCooldown: 1000,
  });
  const begun = Date.now();
  const stop = load(t, port, 40);
  await running.event('scaling:decision', { to: 4 });
  const up = (await scaling()).decisions.find(({ to }) => to === 4);
  assert.ok(up.timestamp - begun < 2 * 2000 + 1000, `after ${up.timestamp - begun} ms`);
  assert.deepEqual([up.action, up.from, up.to, up.rule], ['up', 2, 4, 'requests']);
  await running.event('cluster:scaled', { newCount: 4 });
  const counts = await stop();
  const ended = Date.now();
  await running.event('cluster:scaled', { newCount: 2 }, { patience: 100_000 });
  const down = (await scaling()).decisions.find(({ action }) => action === 'down');
  assert.ok(down.timestamp - ended > 50_000, 'the highest load of the last minute must fit');
  assert.equal(counts.failed, 0);
  assert.ok(counts.answered > 500, `${counts.answered}`);
});

test('it scales down under load without losing a request', async (t) => {
  const { running, port, order } = await cluster(t, { ...BY_REQUESTS, requestsPerWorker: 1000, scaleDownCooldown: 60_000 });
  const stop = load(t, port, 16);
  assert.equal(await order('scale', 4), null);
  await order('updateConfig', { autoScaling: { maxWorkers: 2 } });
  await running.event('cluster:scaled', { newCount: 2 });
  const { answered, failed } = await stop();
  assert.equal(failed, 0);
  assert.ok(answered > 100, `${answered}`);
});

test('a decision has its figures, its rule and a sentence, in the event, the log and the API', async (t) => {
  const { running, port, api, scaling } = await cluster(t, { ...BY_REQUESTS, scaleUpIncrement: 3 });
  const stop = load(t, port, 40);
  const [, text] = await running.until(/^DECISION (.*"action":"up".*)$/m);
  const decision = JSON.parse(text);
  assert.deepEqual([decision.from, decision.to, decision.rule, decision.hold], [2, 5, 'requests', null]);
  assert.match(decision.reason, /^2 to 5 workers: .* requests were in flight in the last 60? s, .* per worker \(target 10\)/);
  assert.equal(decision.inputs.ready, 2);
  assert.ok(decision.inputs.panic.inFlight > 20);
  await running.event('cluster:scaled', { newCount: 5 });
  await stop();
  const { workers, autoScaling, decisions, last } = await scaling();
  assert.equal(workers, 5);
  assert.equal(autoScaling.requestsPerWorker, 10);
  assert.deepEqual(decisions.find(({ action }) => action === 'up'), decision);
  assert.deepEqual([last.from, last.to, last.reason], [2, 5, 'too many requests were in flight']);
  const line = await running.event('scaling:decision', { to: 5 });
  assert.equal(line.msg, decision.reason);
  const { body: metrics } = await request(api, { path: '/metrics' });
  assert.match(metrics, /drover_scaling_decisions_total\{action="up"\} 1/);
});

test('autoScale() evaluates now and says what holds a change', async (t) => {
  const { order } = await cluster(t, { enabled: true, minWorkers: 1, maxWorkers: 4, evaluationInterval: '1h' });
  const decision = await order('autoScale');
  assert.deepEqual([decision.action, decision.from, decision.to], ['none', 2, 2]);
  assert.match(decision.reason, /^2 workers stay: /);
  assert.ok(decision.timestamp > 0);
  assert.equal(typeof decision.inputs.stable.demand, 'number');
});

test('scaling by hand stays within the bounds, and a refusal names them', async (t) => {
  const { order, scaling } = await cluster(t, { enabled: true, minWorkers: 2, maxWorkers: 3 });
  assert.equal(await order('scale', 9), null);
  assert.equal((await scaling()).target, 3);
  const refused = await order('scaleUp', 1);
  assert.deepEqual(refused, {
    name: 'ResourceExhaustionError',
    code: 'RESOURCE_EXHAUSTED',
    message: 'The cluster has 3 workers, and autoScaling allows 2 to 3',
  });
  assert.equal(await order('scaleDown', 5), null);
  const { target, last } = await scaling();
  assert.deepEqual([target, last.reason], [2, 'it was asked for']);
});

test('while it is off autoScale() says so, and the optimal number is known in every process', async (t) => {
  const { port, order, scaling } = await cluster(t, { enabled: false });
  const { timestamp, ...decision } = await order('autoScale');
  assert.ok(timestamp > 0);
  assert.deepEqual(decision, { action: 'none', from: 2, to: 2, reason: 'auto-scaling is off (autoScaling.enabled)' });
  assert.equal((await scaling()).autoScaling, null);
  const here = await order('getOptimalWorkerCount');
  assert.ok(Number.isInteger(here) && here >= 1, `${here}`);
  const there = Number((await request(port, { path: '/optimal' })).body);
  assert.ok(Number.isInteger(there) && there >= 1, `${there}`);
});

test('updateConfig turns it on and off', async (t) => {
  const { running, order, scaling } = await cluster(t, { enabled: false });
  await order('updateConfig', { autoScaling: { enabled: true, minWorkers: 3, maxWorkers: 4 } });
  await running.event('cluster:scaled', { newCount: 3 });
  const { decisions, autoScaling } = await scaling();
  assert.equal(decisions.at(-1).rule, 'bounds');
  assert.deepEqual([autoScaling.minWorkers, autoScaling.maxWorkers], [3, 4]);
  await order('updateConfig', { autoScaling: { enabled: false } });
  assert.equal((await scaling()).autoScaling, null);
});
