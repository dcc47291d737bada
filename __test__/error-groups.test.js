'use strict';

// What goes wrong and what happens is there for who asks: errors by kind, open circuits, events with ids, a webhook.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

/** GET /throw/<n> throws in the worker, /reject/<n> rejects there; SIGWINCH scales to 3. */
function producesErrors({ port, config }) {
  const { createServer } = require('drover');
  const failing = {
    throw: (text) => {
      throw new TypeError(text);
    },
    reject: (text) => void Promise.reject(new RangeError(text)),
  };
  const app = createServer({
    app(request, response) {
      const [, verb, number] = request.url.split('/');
      response.end('ok', () => failing[verb] && setImmediate(() => failing[verb](`no order ${number}`)));
    },
    cluster: { enabled: true, config: { workers: 2, monitoring: { port: 0 }, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.scale(3).then(() => console.log('SCALED')));
    console.log('the cluster is ready');
  });
}

async function serving(t, config = {}) {
  const port = await freePort();
  const cluster = program(t, producesErrors, { given: { port, config } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  return { cluster, port, api };
}

/** The stream of events: next() resolves to the next { id, event, data }, mark() to the id with which it begins. */
async function listen(t, api, headers = {}) {
  const outgoing = http.get({ host: '127.0.0.1', port: api, path: '/cluster/events', headers, agent: false });
  t.after(() => outgoing.destroy());
  const [response] = await once(outgoing, 'response');
  const pieces = response.setEncoding('utf8')[Symbol.asyncIterator]();
  let text = '';
  const block = async () => {
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end >= 0) {
        const fields = Object.fromEntries(text.slice(0, end).split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
        text = text.slice(end + 2);
        return fields;
      }
      const { value, done } = await pieces.next();
      assert.ok(!done, `the stream ended: ${text}`);
      text += value;
    }
  };
  const mark = async () => (await block()).id;
  const next = async () => {
    for (;;) {
      const { id, event, data } = await block();
      if (data !== undefined) return { id, event, data: JSON.parse(data) };
    }
  };
  const until = async (kind) => {
    for (;;) {
      const told = await next();
      if (told.event === kind) return told;
    }
  };
  return { response, mark, next, until };
}

/** Asks until it is as wanted. */
async function ask(api, path, wanted) {
  const until = performance.now() + 60_000;
  for (;;) {
    const answer = (await request(api, { path })).json();
    if (wanted(answer)) return answer;
    assert.ok(performance.now() < until, `not as wanted: ${JSON.stringify(answer)}`);
  }
}

test('errors of one kind are one, with their count, class, workers, times and stack', async (t) => {
  const { port, api } = await serving(t);
  const before = Date.now();
  await request(port, { path: '/throw/17' });
  const thrown = (error) => error.class === 'uncaught-exception';
  // It is told by the worker, and its death when that is over.
  const died = (error) => error.class === 'worker-death';
  await ask(api, '/cluster/errors', ({ errors }) => errors.some(thrown) && errors.some(died));
  await ask(api, '/cluster/health', ({ status }) => status === 'healthy');
  await request(port, { path: '/throw/42' });
  const { errors } = await ask(api, '/cluster/errors', ({ errors }) => errors.find(thrown)?.count === 2);
  const [error] = errors.filter(thrown);
  assert.match(error.message, /^TypeError: no order \d+$/);
  assert.equal(error.severity, 'error');
  assert.match(error.stack, /server\.js:/);
  assert.ok(error.first >= before - 1000 && error.last >= error.first);
  assert.equal(error.trend.length, 60);
  assert.equal(error.trend.at(-1) + error.trend.at(-2), 2);
  const deaths = errors.find(died);
  assert.match(deaths.message, /exit code 1/);
});

test('an unhandled rejection is distinguished from an exception', async (t) => {
  const { port, api } = await serving(t);
  await request(port, { path: '/reject/3' });
  const rejected = (error) => error.class === 'unhandled-rejection' && error.message === 'RangeError: no order 3';
  await ask(api, '/cluster/errors', ({ errors }) => errors.some(rejected));
});

test('an open restart circuit is reported, and its trial too', async (t) => {
  const config = { processManagement: { maxRestarts: 0 }, errorHandling: { circuitBreaker: { resetTimeout: 60_000 } } };
  const { port, api } = await serving(t, config);
  await request(port, { path: '/throw/1' });
  const { circuits, errors } = await ask(api, '/cluster/errors', ({ circuits }) => circuits.length > 0);
  assert.equal(circuits[0].kind, 'restart');
  assert.equal(circuits[0].state, 'open');
  assert.ok(circuits[0].until > Date.now() && circuits[0].until < Date.now() + 61_000);
  assert.ok(errors.some((error) => error.class === 'alert'));
});

test('kinds beyond maxEntries make room and are counted', async (t) => {
  const { port, api } = await serving(t, { errorHandling: { reporting: { maxEntries: 1 } } });
  await request(port, { path: '/throw/1' });
  const { errors } = await ask(api, '/cluster/errors', ({ dropped }) => dropped > 0);
  assert.equal(errors.length, 1);
});

test('events are streamed as they happen, and a client resumes where it was', async (t) => {
  const { cluster, api, port } = await serving(t);
  const first = await listen(t, api);
  assert.equal(first.response.headers['content-type'], 'text/event-stream');
  cluster.signal('SIGWINCH');
  const scaled = await first.until('cluster:scaled');
  assert.equal(scaled.data.newCount, 3);
  assert.ok(Math.abs(scaled.data.timestamp - Date.now()) < 60_000);
  const at = scaled.id;
  // Whoever has heard of no event yet.
  const mark = await (await listen(t, api)).mark();

  await request(port, { path: '/throw/1' });
  const died = await first.until('worker:exit');
  const later = await listen(t, api, { 'last-event-id': at });
  assert.deepEqual(await later.until('worker:exit'), died, 'the same event has the same id');
  const marked = await listen(t, api, { 'last-event-id': mark });
  assert.deepEqual(await marked.until('worker:exit'), died, 'it happened since');

  const ofAnother = await listen(t, api, { 'last-event-id': '5-3' });
  assert.equal((await ofAnother.next()).event, 'worker:started', 'another cluster’s id is the beginning of this one');
  const refused = await request(api, { path: '/cluster/events', headers: { 'last-event-id': 'x' } });
  assert.equal(refused.status, 400);
});

test('the last change of size is known in every process', async (t) => {
  const { cluster, api } = await serving(t);
  assert.equal((await request(api, { path: '/cluster/scaling' })).json().last, null);
  cluster.signal('SIGWINCH');
  await cluster.until(/SCALED/);
  const scaling = (await request(api, { path: '/cluster/scaling' })).json();
  assert.equal(scaling.workers, 3);
  assert.equal(scaling.target, 3);
  const { timestamp, ...last } = scaling.last;
  assert.deepEqual(last, { action: 'up', from: 2, to: 3, reason: 'it was asked for' });
  assert.deepEqual(scaling.decisions, [scaling.last]);
  assert.deepEqual((await request(api, { path: '/cluster/stats' })).json().lastScalingAction, scaling.last);
  assert.ok(timestamp > 0);
});

/** A server that takes reports, and answers 500 as often as `failures` says. */
async function takesReports(t, failures = 0) {
  const bodies = [];
  const waiting = [];
  let attempts = 0;
  const server = http.createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    attempts += 1;
    response.statusCode = attempts <= failures ? 500 : 200;
    response.end();
    if (response.statusCode !== 200) return;
    bodies.push(JSON.parse(text));
    waiting.splice(0).forEach((wake) => wake());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const came = async (count) => {
    while (bodies.length < count) await new Promise((resolve) => waiting.push(resolve));
    return bodies;
  };
  return { url: `http://127.0.0.1:${server.address().port}/hunter2`, came, attempts: () => attempts };
}

test('the webhook gets each kind of error once, in Slack’s format, with retries', async (t) => {
  const reports = await takesReports(t, 2);
  const errorHandling = { reporting: { webhook: reports.url }, retry: { maxRetries: 3, initialDelay: 10, maxDelay: 50 } };
  const { cluster, port } = await serving(t, { errorHandling });
  await request(port, { path: '/throw/1' });
  const bodies = await reports.came(2);
  assert.match(bodies[0].text, /^\[error\] server\.js on .+: worker [01]: TypeError: no order 1$/);
  assert.match(bodies[0].attachments[0].text, /server\.js:/);
  assert.match(bodies[1].text, /ended with exit code 1/);
  assert.equal(reports.attempts(), 4);
  assert.doesNotMatch(cluster.output, /hunter2/);
});

test('a failing webhook is logged without its address, and does not delay the stop', async (t) => {
  const port = await freePort();
  const webhook = `http://127.0.0.1:${port}/hunter2`;
  const errorHandling = { reporting: { webhook }, retry: { maxRetries: 1, initialDelay: 1, maxDelay: 1 } };
  const { cluster, port: own } = await serving(t, { errorHandling });
  await request(own, { path: '/throw/1' });
  const { msg } = await cluster.event('webhook:failed');
  assert.match(msg, /^errorHandling\.reporting\.webhook took no message \(.*\): \[error\]/);
  assert.doesNotMatch(cluster.output, /hunter2/);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
});

test('a webhook message that is lost at the end of the cluster is logged', async (t) => {
  const webhook = `http://127.0.0.1:${await freePort()}/hunter2`;
  const errorHandling = { reporting: { webhook }, retry: { maxRetries: 9, initialDelay: 60_000, maxDelay: 60_000 } };
  const { cluster, port } = await serving(t, { errorHandling });
  await request(port, { path: '/reject/1' });
  await cluster.event('worker:exit', { reason: 'failed' });
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.event('webhook:failed');
});

test('the webhook does not follow redirects', async (t) => {
  const asked = [];
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const isFirst = request.url === '/first';
    response.writeHead(isFirst ? 302 : 200, isFirst ? { location: '/second' } : {}).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const webhook = `http://127.0.0.1:${server.address().port}/first`;
  const errorHandling = { reporting: { webhook }, retry: { maxRetries: 1, initialDelay: 1, maxDelay: 1 } };
  const { cluster, port } = await serving(t, { errorHandling });
  await request(port, { path: '/reject/1' });
  await cluster.event('webhook:failed', { reason: 'it answered 302' });
  assert.deepEqual(new Set(asked), new Set(['POST /first']));
});

test('a webhook that answers Retry-After gets the message later', async (t) => {
  const times = [];
  let took;
  const taken = new Promise((resolve) => {
    took = resolve;
  });
  const server = http.createServer((request, response) => {
    times.push(performance.now());
    const isFirst = times.length === 1;
    request.resume().on('end', () => response.writeHead(isFirst ? 429 : 200, isFirst ? { 'retry-after': '2' } : {}).end());
    if (!isFirst) took();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const webhook = `http://127.0.0.1:${server.address().port}/`;
  const errorHandling = { reporting: { webhook }, retry: { maxRetries: 1, initialDelay: 1, maxDelay: 1 } };
  const { port } = await serving(t, { errorHandling });
  await request(port, { path: '/throw/1' });
  await taken;
  assert.ok(times[1] - times[0] > 1900, `${times[1] - times[0]} ms`);
});

/** Listeners for rejections if the program has none: under Bun one of drover's tells of a rejection that ends the process. */
const NONE = isBun ? 1 : 0;

/** Rejections have a listener of the program's, which goes on; at SIGUSR2 a worker has none any more. */
function forgiving({ port }) {
  const { createServer } = require('drover');
  const heard = (error) => console.log(`HEARD ${error.message} of ${process.listenerCount('unhandledRejection')}`);
  process.on('unhandledRejection', heard);
  const app = createServer({
    app(request, response) {
      response.end('ok', () => Promise.reject(new RangeError('no order')));
    },
    cluster: { enabled: true, config: { workers: 1, monitoring: { port: 0 } } },
  });
  if (app.isWorker) {
    process.on('SIGUSR2', () => {
      process.off('unhandledRejection', heard);
      console.log(`LEFT ${process.listenerCount('unhandledRejection')}`);
    });
  }
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('a rejection is counted and does not end the worker while the program listens for rejections', async (t) => {
  const port = await freePort();
  const cluster = program(t, forgiving, { given: { port } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  const [worker] = cluster.others();
  await request(port);
  await cluster.until(/HEARD no order of 2/);
  const rejected = (error) => error.class === 'unhandled-rejection' && error.message === 'RangeError: no order';
  const { errors } = await ask(api, '/cluster/errors', ({ errors }) => errors.some(rejected));
  assert.match(errors.find(rejected).stack, /server\.js:/);
  assert.deepEqual(cluster.others(), [worker]);
  process.kill(worker, 'SIGUSR2');
  await cluster.until(new RegExp(`LEFT ${NONE}`));
  await request(port);
  await cluster.event('worker:exit', { worker: '0', workerPid: worker, reason: 'failed', exitCode: 1 });
});

/** A worker whose listeners for rejections come and go; how many there are after each step. At the end one throws. */
function juggling() {
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 1, monitoring: { port: 0 } } } });
  const name = 'unhandledRejection';
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const counts = [];
  const step = async (act) => {
    act();
    await turn();
    counts.push(process.listenerCount(name));
  };
  app.start(0, '127.0.0.1').then(async () => {
    if (app.isPrimary) return;
    const [first, second] = [() => {}, () => {}];
    await step(() => process.on(name, first).off(name, first).on(name, second));
    await step(() => process.off(name, second));
    await step(() => process.once(name, first));
    await step(() => Promise.reject(Object.create(null)));
    await step(() => {
      process.on(name, second);
      const all = process.listeners(name);
      process.removeAllListeners(name);
      for (const listener of all) process.on(name, listener);
    });
    await step(() => {
      for (let at = 0; at < 50; at += 1) Promise.reject(new RangeError(`no order ${at}`));
    });
    console.log(`COUNTS ${counts}`);
    process.removeAllListeners(name);
    process.on(name, (error) => {
      throw error;
    });
    await turn();
    Promise.reject(new TypeError('thrown on'));
  });
}

test('each rejection is reported once, at most a few per second, however listeners are added and removed', async (t) => {
  const cluster = program(t, juggling);
  const api = await monitoringPort(cluster);
  await cluster.until(new RegExp(`COUNTS 2,${NONE},2,${NONE},2,2$`, 'm'));
  await cluster.event('worker:exit', { worker: '0', reason: 'failed' });
  const ours = ({ message }) => /null prototype|no order|thrown on/.test(message);
  const { errors } = await ask(api, '/cluster/errors', ({ errors }) => errors.some(({ message }) => /thrown on/.test(message)));
  const told = errors.filter(ours).map(({ class: kind, message, count }) => [kind, message.replace(/\d+/, 'N'), count]);
  const once = told.filter(([, message]) => !message.includes('order'));
  assert.deepEqual(once.sort(), [
    ['uncaught-exception', 'TypeError: thrown on', 1],
    ['unhandled-rejection', 'Error: [Object: null prototype] {}', 1],
  ]);
  const [, , some] = told.find(([, message]) => message.includes('order'));
  assert.ok(some > 0 && some <= 20, `${some} of 50 rejections in a turn were told`);
});
