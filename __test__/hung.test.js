'use strict';

// An event loop that does not turn any more: what it was doing is told, and the worker is replaced. Whoever only
// waits, is slow, or is being debugged is left alone.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { freePort, request } = require('./helpers/http');
const { folder } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');
const { capture } = require('./helpers/stacks');

const hanging = path.join(__dirname, 'fixtures', 'hanging');

/** Milliseconds that an event loop may stand still in these tests. */
const TIMEOUT = 1000;

/** Where a report hangs, as the log names it: the line of its source that bears its name. */
function lineOf(report) {
  const lines = fs.readFileSync(path.join(hanging, 'routes', 'report.js'), 'utf8').split('\n');
  return `routes/report.js:${lines.findIndex((line) => line.endsWith(`// ${report}`)) + 1}`;
}

/** What the event says of a hung worker; on a busy machine the primary itself may look late. Bun tells of no stack. */
const hungAt = (report) => new RegExp(`^hung for [1-9]\\.\\d s${isBun ? `; its last request was GET /${report}` : ` at ${lineOf(report)}`}$`);
const hungWithout = (why) =>
  new RegExp(`^hung for [1-9]\\.\\d s${isBun ? `(?: \\(no stack: ${why}\\))?(?:; its last request was GET /\\w*)?` : ` \\(no stack: ${why}\\)`}$`);

/** A cluster of two; `config` is a ClusterConfig, `processManagement` apart. */
async function serving(t, { hangTimeout = TIMEOUT, config, script = 'server.js', env, ...options } = {}) {
  const port = await freePort();
  const settings = { workers: 2, processManagement: { hangTimeout }, loadBalancing: { dispatch: 'push' }, ...config };
  const cluster = run(t, path.join(hanging, script), {
    cwd: hanging,
    env: { PORT: String(port), CLUSTER_CONFIG: JSON.stringify(settings), ...env },
    ...options,
  });
  await cluster.until(/the cluster is ready/);
  return { port, cluster };
}

/** A request that the worker never answers; what becomes of it does not matter. */
function hang(port, target) {
  const outgoing = http.get({ port, host: '127.0.0.1', path: target, agent: false });
  outgoing.on('error', () => undefined);
  return outgoing;
}

/** The event of the worker that is hung. */
async function hungEvent(cluster) {
  const [, event] = await cluster.until(/^UNHEALTHY (.*"reason":"hung.*)$/m);
  return JSON.parse(event);
}

/** Requests, one after the other, until `done` is settled; who answered them. */
async function visitsUntil(port, done) {
  const answers = [];
  let going = true;
  done.finally(() => (going = false)).catch(() => undefined);
  while (going) answers.push((await request(port)).json());
  return answers;
}

function assertStack(stack, report) {
  assert.match(stack, new RegExp(`^ {4}at .*${report} \\(.*report\\.js:\\d+:\\d+\\)$`, 'm'));
  assert.ok(stack.split('\n').every((line) => line.startsWith('    at ')), stack);
  // The way in is told too, and drover's own part of it is not all.
  assert.match(stack, /at app \(.*server\.js:\d+:\d+\)\n {4}at emit \(node:events/);
}

for (const [what, report] of [
  ['a busy loop', 'loop'],
  ['a regular expression that backtracks', 'backtrack'],
  ['a wait for another thread', 'wait'],
]) {
  test(`${what} is named by file and line, and its worker replaced while the other one serves`, async (t) => {
    const { port, cluster } = await serving(t);
    hang(port, `/${report}`);
    // What it took before that hangs with it.
    await cluster.until(new RegExp(`REPORTS /${report}`));
    const event = hungEvent(cluster);
    const answers = await visitsUntil(port, event);
    const { workerId, reason, replaced, stack } = await event;

    assert.match(reason, hungAt(report));
    assert.equal(replaced, true);
    if (isBun) assert.equal(stack, null);
    else assertStack(stack, report);
    const { msg } = await cluster.event('worker:unhealthy', { worker: workerId, replaced: true });
    assert.match(msg, new RegExp(`^Worker ${workerId} hung for .*; it is replaced${isBun ? '$' : '\\n {4}at '}`));

    const { workerPid: hung } = await cluster.event('worker:exit', { worker: workerId, reason: 'hung', signal: 'SIGKILL' });
    assert.ok(answers.some(({ worker }) => worker !== workerId));
    assert.ok(answers.every(({ pid }) => pid !== hung));
    await cluster.eventMany(2, 'worker:ready', { worker: workerId });
    const { worker } = await new Promise((resolve, reject) => {
      const next = () =>
        request(port).then((answer) => (answer.json().worker === workerId ? resolve(answer.json()) : next()), reject);
      next();
    });
    assert.equal(worker, workerId);
  });
}

test('a worker blocked by a native call is replaced without a stack, and the log says why', async (t) => {
  const { port, cluster } = await serving(t);
  const pipe = path.join(folder(t), 'pipe');
  execFileSync('mkfifo', [pipe]);
  hang(port, `/read?pipe=${pipe}`);
  const { workerId, reason, stack } = await hungEvent(cluster);
  assert.match(reason, hungWithout('no JavaScript ran for 1 s: a native call blocks it'));
  assert.equal(stack, null);
  const { msg } = await cluster.event('worker:unhealthy', { worker: workerId, replaced: true });
  assert.match(msg, /; it is replaced$/);
  await cluster.eventMany(2, 'worker:ready', { worker: workerId });
});

test('a worker stopped by a signal is replaced as soon as hangTimeout has passed, without a stack', async (t) => {
  const { port, cluster } = await serving(t);
  const { pid, worker } = (await request(port)).json();
  process.kill(pid, 'SIGSTOP');
  const { workerId, reason, stack } = await hungEvent(cluster);
  assert.equal(workerId, worker);
  assert.match(reason, hungWithout('a signal has stopped the process'));
  assert.equal(stack, null);
  await cluster.eventMany(2, 'worker:ready', { worker: workerId });
});

test('without respawn a hung worker is ended all the same', async (t) => {
  const { port, cluster } = await serving(t, {
    config: { processManagement: { hangTimeout: TIMEOUT, respawn: false } },
  });
  hang(port, '/loop');
  const { workerId, replaced } = await hungEvent(cluster);
  assert.equal(replaced, false);
  await cluster.event('worker:unhealthy', { worker: workerId, replaced: false, reason: hungAt('loop') });
  await cluster.event('worker:exit', { worker: workerId, reason: 'hung' });
  assert.notEqual((await request(port)).json().worker, workerId);
});

test('a hung worker does not delay a stop by the whole graceful timeout', async (t) => {
  const { port, cluster } = await serving(t);
  hang(port, '/loop');
  await cluster.event('worker:unhealthy');
  const before = performance.now();
  cluster.signal('SIGTERM');
  await cluster.exit;
  const taken = performance.now() - before;
  assert.ok(taken < 10 * TIMEOUT, `${taken} ms`);
  await cluster.event('worker:unhealthy', { reason: hungAt('loop') });
});

/** How often the main thread of a process has gone to sleep. */
function sleeps(pid) {
  const status = fs.readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8');
  return Number(status.match(/^voluntary_ctxt_switches:\s+(\d+)/m)[1]);
}

test('an idle worker is not woken; one with a pending request answers the ping and is kept', async (t) => {
  const { port, cluster } = await serving(t, { config: { loadBalancing: { dispatch: 'push', healthAware: false } } });
  const [first, second] = [(await request(port)).json(), (await request(port)).json()];
  assert.notEqual(first.pid, second.pid);
  // It is the first one's turn.
  const pending = hang(port, '/never');
  await wait(TIMEOUT);
  const before = { waits: sleeps(first.pid), idles: sleeps(second.pid) };
  await wait(3 * TIMEOUT);
  const woken = { waits: sleeps(first.pid) - before.waits, idles: sleeps(second.pid) - before.idles };
  assert.ok(woken.waits >= 5, `pinged so seldom that a hang would be missed: ${JSON.stringify(woken)}`);
  // Bun collects garbage once a second by itself, and waits for its collector meanwhile, in both workers.
  const ownWakes = isBun ? woken.waits - 5 : 2;
  assert.ok(woken.idles <= ownWakes, `an idle worker was woken: ${JSON.stringify(woken)}`);
  assert.doesNotMatch(cluster.stdout, /hung/);
  pending.destroy();
});

test('a loop that turns is not hung, however slowly it does', async (t) => {
  const { port, cluster } = await serving(t);
  const turn = TIMEOUT * 0.6;
  const { pid } = (await request(port, { path: `/crawl?ms=${5 * TIMEOUT}&turn=${turn}` })).json();
  await wait(5 * TIMEOUT);
  process.kill(pid, 0);
  assert.doesNotMatch(cluster.stdout, /hung/);
});

/** Names of the threads of a process. */
const threads = (pid) =>
  fs.readdirSync(`/proc/${pid}/task`).map((id) => fs.readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim());

/** Without the main thread, which bears the worker's title. */
const ownThreads = (pid) => threads(pid).filter((name) => name.startsWith('drover-'));

test('with hangTimeout 0 a blocked loop is never replaced, and workers have no stack thread', async (t) => {
  const { port, cluster } = await serving(t, { hangTimeout: 0 });
  const { pid } = (await request(port, { path: `/crawl?ms=1&turn=${3 * TIMEOUT}` })).json();
  assert.deepEqual(ownThreads(pid), isBun ? ['drover-poll'] : []);
  await wait(3 * TIMEOUT);
  process.kill(pid, 0);
  assert.doesNotMatch(cluster.stdout, /hung/);
});

test('drover’s only thread in a worker is the stack thread', async (t) => {
  const { port } = await serving(t);
  const { pid } = (await request(port)).json();
  // Bun has no stack for it, and no poll handles of libuv.
  assert.deepEqual(ownThreads(pid), [isBun ? 'drover-poll' : 'drover-stack']);
});

for (const [what, options] of [
  ['was started under an inspector', { execArgv: ['--inspect=127.0.0.1:0'] }],
  ['was asked for an inspector by its environment', { env: { NODE_OPTIONS: '--inspect=127.0.0.1:0' } }],
]) {
  test(`a worker that ${what} may stop at a breakpoint for any time`, async (t) => {
    const { port, cluster } = await serving(t, options);
    assert.equal((await request(port, { path: `/crawl?ms=1&turn=${3 * TIMEOUT}` })).status, 200);
    // Its loop has stood still before it can leave in order.
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    assert.doesNotMatch(cluster.output, /hung|SIGKILL/);
  });
}

test('a worker whose inspector is opened later is not replaced either', async (t) => {
  const { port, cluster } = await serving(t, { execArgv: ['--inspect-port=127.0.0.1:0'], config: { workers: 1 } });
  const { pid } = (await request(port)).json();
  process.kill(pid, 'SIGUSR1');
  await cluster.until(/Debugger listening on/);
  assert.equal((await request(port, { path: `/crawl?ms=1&turn=${3 * TIMEOUT}` })).json().pid, pid);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  assert.doesNotMatch(cluster.output, /hung|SIGKILL/);
});

test('time in which the whole cluster was frozen does not count', async (t) => {
  const { port, cluster } = await serving(t);
  const pending = hang(port, '/never');
  await wait(TIMEOUT);
  const workers = cluster.others();
  assert.equal(workers.length, 2);
  for (const pid of workers) process.kill(pid, 'SIGSTOP');
  // A ping is under way when the primary stops too.
  await wait(TIMEOUT / 3);
  await cluster.freeze();
  await wait(3 * TIMEOUT);
  for (const pid of [cluster.pid, ...workers]) process.kill(pid, 'SIGCONT');
  await wait(2 * TIMEOUT);
  assert.equal((await request(port)).status, 200);
  assert.doesNotMatch(cluster.stdout, /hung/);
  pending.destroy();
});

test('repeated stack requests do not disturb a worker, and run none of its code', async (t) => {
  const { stacks, told } = await capture(t, { captures: 400 });
  assert.equal(stacks.length, 400);
  for (const stack of stacks) assert.match(stack, /^( {4}at .+\n)*.*interrupted-work\.js:\d+:\d+\)?(\n {4}at .+)*$/);
  // They were taken in the midst of different things.
  assert.ok(new Set(stacks.map((stack) => stack.split('\n')[0])).size > 5, stacks.join('\n\n'));
  // What the program had made of the built-in objects was not asked, and stays.
  assert.deepEqual(told, { prepared: 0, limit: 0, own: 'its own at false' });
});
