'use strict';

// Workers die; the service goes on. Whatever killed one, it is replaced, within the budget of its slot.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const { test } = require('node:test');
const { freePort, keepAlive, request } = require('./helpers/http');
const { failureCluster, program } = require('./helpers/program');
const { isBun, printed } = require('./helpers/runtime');

/** The lines of the log that say so, as [worker, ...]. */
const lines = (cluster, pattern) => [...cluster.stdout.matchAll(pattern)];

async function whoServes(port, visits = 6) {
  const pids = new Set();
  for (let visit = 0; visit < visits; visit += 1) pids.add((await request(port)).json().pid);
  return [...pids].sort();
}

/** A cluster of two that serves, each in its turn however busy the machine is, and its workers by slot. */
async function serving(t, config) {
  const port = await freePort();
  const loadBalancing = { healthAware: false, queueTimeout: '1m' };
  const cluster = failureCluster(t, { port, config: { loadBalancing, ...config } });
  await cluster.until(/the cluster is ready/);
  const workers = (await request(port, { path: '/workers' })).json().workers;
  return { port, cluster, pids: workers.map(({ pid }) => pid) };
}

test('a worker that is killed is replaced at once, and the other one serves on', async (t) => {
  const { port, cluster, pids } = await serving(t);
  const other = keepAlive(port);
  t.after(() => other.close());
  let kept = (await other.request()).json().pid;
  const victim = pids.find((pid) => pid !== kept);

  process.kill(victim, 'SIGKILL');
  const { workerPid: died, worker } = await cluster.event('worker:exit', { reason: 'killed', signal: 'SIGKILL' });
  assert.equal(died, victim);
  await cluster.event('worker:restart', { worker, delayMs: 0, restarts: 1 });
  kept = (await other.request()).json().pid;
  assert.notEqual(kept, victim);
  await cluster.eventMany(3, 'worker:ready');

  const now = await whoServes(port);
  assert.equal(now.length, 2);
  assert.ok(now.includes(kept) && !now.includes(victim));
  const { workers } = (await request(port, { path: '/workers' })).json();
  const [replaced] = workers.filter(({ pid }) => !pids.includes(pid));
  assert.deepEqual([replaced.generation, replaced.restarts, replaced.state], [2, 1, 'running']);
});

for (const [what, path, end] of [
  ['exits with 0 unasked', '/exit?code=0', { reason: 'finished', exitCode: 0 }],
  ['exits with another code', '/exit?code=3', { reason: 'failed', exitCode: 3 }],
  ['throws in a request listener', '/throw', { reason: 'failed', exitCode: 1 }],
  ['rejects a promise that nobody catches', '/reject', { reason: 'failed', exitCode: 1 }],
]) {
  test(`a worker that ${what} is replaced`, async (t) => {
    const { port, cluster } = await serving(t);
    // Without an answer when the worker threw before it gave one.
    await request(port, { path }).catch((error) => assert.equal(error.code, 'ECONNRESET'));
    await cluster.event('worker:exit', end);
    await cluster.eventMany(3, 'worker:ready');
    assert.equal((await whoServes(port)).length, 2);
  });
}

test('an uncaught error is printed by Node with its stack, and emitted as worker:error', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const { createServer } = require('drover');
      const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.get('/', () => {
        setImmediate(() => {
          throw Object.assign(new SyntaxError('not caught'), { code: 'E_MINE' });
        });
      });
      app.cluster.on('worker:error', ({ workerId, error }) =>
        console.log(`HEARD ${JSON.stringify({ workerId, name: error.name, message: error.message, code: error.code })}`),
      );
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('STARTED'));
    },
    { given: { port } },
  );
  await cluster.until(/STARTED/);
  await assert.rejects(request(port), { code: 'ECONNRESET' });
  const [, heard] = await cluster.until(/HEARD (.*)/);
  assert.deepEqual(JSON.parse(heard), { workerId: '0', name: 'SyntaxError', message: 'not caught', code: 'E_MINE' });
  await cluster.until(new RegExp(printed('SyntaxError', 'not caught')));
});

test('the death of a worker does not affect requests of other workers', async (t) => {
  const { port, cluster } = await serving(t);
  const answers = Promise.all(Array.from({ length: 8 }, () => request(port, { path: '/slow?ms=5000' }).catch(String)));
  await whoServes(port);
  const { pid: victim } = (await request(port)).json();
  process.kill(victim, 'SIGKILL');
  const whole = (await answers).filter((answer) => typeof answer !== 'string').map((answer) => answer.json().pid);
  assert.ok(whole.length >= 3, `only ${whole.length} of 8 were answered`);
  assert.ok(!whole.includes(victim));
  await cluster.eventMany(3, 'worker:ready');
});

test('after too many restarts the slot’s circuit opens with an alert, and a restart is tried later', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const { createServer } = require('drover');
      const config = {
        workers: 2,
        processManagement: { maxRestarts: 3, restartDelay: 40, restartWindow: '1m' },
        errorHandling: { circuitBreaker: { resetTimeout: 400 } },
        loadBalancing: { healthAware: false },
      };
      const app = createServer({ cluster: { enabled: true, config } });
      app.get('/', (_, response) => response.send(app.workerId));
      for (const name of ['worker:restart', 'alert', 'cluster:degraded', 'worker:ready']) {
        if (app.isPrimary) app.cluster.on(name, (event) => console.log(`EVENT ${JSON.stringify({ name, ...event })}`));
      }
      app.start(port, '127.0.0.1').then(() => {
        if (app.isPrimary) console.log('STARTED');
        // Serves for a moment, then dies, again and again; the fifth life is a good one.
        else if (app.workerId === '1' && app.getAllWorkers()[1].generation < 5) process.exit(9);
      });
    },
    { given: { port } },
  );
  await cluster.until(/"name":"alert"/);
  await cluster.until(/"name":"worker:ready","workerId":"1".*"generation":5/);
  const events = lines(cluster, /EVENT (.*)/g).map(([, text]) => JSON.parse(text));
  const restarts = events.filter(({ name }) => name === 'worker:restart');
  assert.deepEqual(
    restarts.map(({ workerId, restarts: count }) => [workerId, count]),
    [
      ['1', 1],
      ['1', 2],
      ['1', 3],
    ],
  );
  const delays = restarts.map(({ delayMs }) => delayMs);
  assert.equal(delays[0], 0, 'the first death of a worker that was ready costs nothing');
  assert.ok(delays[1] >= 40 && delays[1] <= 44 && delays[2] >= 80 && delays[2] <= 88, `${delays}`);
  const alert = events.find(({ name }) => name === 'alert');
  assert.match(alert.message, /Worker 1 died 4 times in 1 minutes; one trial start every 0\.4 s/);
  const degraded = events.find(({ name }) => name === 'cluster:degraded');
  assert.deepEqual([degraded.ready, degraded.wanted, degraded.failing], [1, 2, ['1']]);
  // The rest served all the time, and the trial is whole again.
  const answers = new Set();
  for (let visit = 0; visit < 4; visit += 1) answers.add((await request(port)).body);
  assert.deepEqual([...answers].sort(), ['0', '1']);
});

test('without respawn dead workers are not replaced, and the cluster ends with the last one', async (t) => {
  const { port, cluster } = await serving(t, { processManagement: { respawn: false } });
  await request(port, { path: '/exit?code=0' });
  await cluster.event('worker:exit', { reason: 'finished', exitCode: 0 });
  assert.equal((await whoServes(port)).length, 1);
  await request(port, { path: '/exit?code=0' });
  await cluster.event('cluster:stopped');
  await cluster.exit;
  await cluster.gone();
});

/** The documents' own handlers of errors, as they are written there. */
function documented({ port, control }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
  app.get('/', (_, response) => response.send(`${process.pid}`));
  app.get('/slow', (_, response) => setTimeout(() => response.send('whole'), 700));
  app.get('/bug', (_, response) => {
    response.send('answered');
    setImmediate(() => {
      throw new Error('a bug');
    });
  });
  app.get('/promise', (_, response) => {
    response.send('answered');
    setImmediate(() => Promise.reject(new Error('a bug')));
  });

  process.on('uncaughtException', (error) => {
    console.error('Uncaught Exception:', error);
    // Graceful shutdown
    app.stopCluster(true).then(() => process.exit(1));
  });

  process.on('unhandledRejection', (reason, promise) => {
    console.error('Unhandled Rejection at:', promise, 'reason:', reason);
    // Graceful shutdown
    app.stopCluster(true).then(() => process.exit(1));
  });

  app.start(port, '127.0.0.1').then(() => {
    if (app.isWorker) return;
    const bug = () => {
      throw new Error('a bug of the primary');
    };
    http.createServer(bug).listen(control, '127.0.0.1', () => console.log('the cluster is ready'));
  });
}

for (const [path, said] of [
  ['/bug', new RegExp(`^Uncaught Exception: ${printed('Error', 'a bug')}`, 'm')],
  ['/promise', new RegExp(`^Unhandled Rejection at: .*reason: ${printed('Error', 'a bug')}`, 'ms')],
]) {
  test(`the documents' handlers work as written: ${path} in a worker ends it after its last answer`, async (t) => {
    const [port, control] = [await freePort(), await freePort()];
    const cluster = program(t, documented, { given: { port, control } });
    await cluster.until(/the cluster is ready/);
    const { body: before } = await request(port);
    const slow = [request(port, { path: '/slow' }), request(port, { path: '/slow' })];
    await request(port);
    assert.equal((await request(port, { path })).body, 'answered');
    await cluster.until(said);
    assert.deepEqual(
      (await Promise.all(slow)).map(({ body }) => body),
      ['whole', 'whole'],
    );
    await cluster.event('worker:exit', { reason: 'failed', exitCode: 1, workerPid: Number(before) });
    // It waits for the replacement.
    assert.notEqual((await request(port)).body, before);
  });
}

test("the documents' handlers work as written: an exception in the primary stops the cluster in order", async (t) => {
  const [port, control] = [await freePort(), await freePort()];
  const cluster = program(t, documented, { given: { port, control } });
  await cluster.until(/the cluster is ready/);
  const slow = request(port, { path: '/slow' });
  await request(port);
  const broken = request(control).catch(({ code }) => code);
  assert.equal((await slow).body, 'whole');
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
  // Bun answers by itself when a listener throws.
  if (!isBun) assert.equal(await broken, 'ECONNRESET');
  await cluster.gone();
});

test('twenty deaths in a row leave no zombie and no vacant slot', async (t) => {
  const { port, cluster } = await serving(t, { processManagement: { maxRestarts: 100, restartDelay: 1 } });
  for (let death = 1; death <= 20; death += 1) {
    const { pid } = (await request(port)).json();
    process.kill(pid, 'SIGKILL');
    await cluster.event('worker:exit', { reason: 'killed', signal: 'SIGKILL', workerPid: pid });
  }
  await cluster.eventMany(22, 'worker:ready');
  const children = fs.readFileSync(`/proc/${cluster.pid}/task/${cluster.pid}/children`, 'utf8');
  const states = allChildren(cluster.pid).map((pid) => fs.readFileSync(`/proc/${pid}/stat`, 'latin1').match(/\) (\w)/)[1]);
  assert.equal(states.length, 2, children);
  assert.ok(!states.includes('Z'), `${states}`);
  assert.equal((await whoServes(port)).length, 2);
});

/** Children of all threads of a process: the workers are children of the thread that spawned them. */
function allChildren(pid) {
  return fs.readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const children = fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8');
    return children.split(' ').filter(Boolean).map(Number);
  });
}

test('a connection that a dead worker had not accepted is served by another worker', async (t) => {
  const { port, cluster } = await serving(t, { workers: 1, processManagement: { restartDelay: 1 } });
  const [pid] = cluster.others();
  // Stopped, so that what is sent to it lies unread.
  process.kill(pid, 'SIGSTOP');
  const answers = Promise.all(Array.from({ length: 5 }, () => request(port)));
  const probe = http.get({ port, host: '127.0.0.1', agent: false });
  await once(probe, 'socket').then(([socket]) => once(socket, 'connect'));
  process.kill(pid, 'SIGKILL');
  const [response] = await once(probe, 'response');
  response.resume();
  for (const answer of await answers) assert.notEqual(answer.json().pid, pid);
});
