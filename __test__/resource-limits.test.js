'use strict';

// Limits of workers: over a soft one a worker is replaced without a lost request, over a hard one it is killed and the
// log says why; scheduling; the memory of all workers together.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { controlGroup } = require('./helpers/control-groups');
const { freePort, keepAlive, request, tcp } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { answering, ask } = require('./helpers/persistent-clients');
const { nobody, write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');
const { skip } = require('./helpers/skip');

const MB = 1024 * 1024;

/**
 * A cluster whose workers use memory when they are told to: /grow?to= megabytes, 10 MB each 50 ms or `pause`; /devour?at=
 * megabytes as fast as it can.
 */
function growing({ port, config, respond }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const kept = [];
  const grow = (to, pause) => {
    if (process.memoryUsage.rss() >= to * 1024 * 1024) return;
    kept.push(Buffer.alloc(10 * 1024 * 1024, 1));
    setTimeout(grow, pause, to, pause).unref();
  };
  // In turns, because a worker whose loop is blocked for long is replaced.
  const devour = (megabytes) => {
    if (megabytes <= 0) return;
    kept.push(Buffer.alloc(50 * 1024 * 1024, 1));
    setImmediate(devour, megabytes - 50);
  };
  const server = http.createServer((asked, response) => {
    const { pathname, searchParams } = new URL(asked.url, 'http://localhost');
    if (pathname === '/grow') grow(Number(searchParams.get('to')), Number(searchParams.get('pause') ?? 50));
    if (pathname === '/devour') devour(Number(searchParams.get('at')));
    if (asked.method === 'POST') return respond(asked, response);
    const heap = require('node:v8').getHeapStatistics().heap_size_limit;
    const { pid, execArgv, env } = process;
    response.end(JSON.stringify({ pid, id: env.WORKER_ID, heap, execArgv, kept: kept.length }));
  });
  const app = createServer({ app: server, cluster: { enabled: true, config } });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    app.cluster.on('metrics:updated', () => console.log('METRICS'));
    process.on('SIGWINCH', async () => {
      const [verb, argument] = JSON.parse(require('node:fs').readFileSync(`${__filename}.order`, 'utf8'));
      const told = await app[verb](argument).then(
        () => 'done',
        ({ code, message }) => `${code} ${message.replaceAll("\n", " ")}`,
      );
      console.log(`${verb}: ${told}`);
    });
    console.log('the cluster is ready');
  });
}

async function cluster(t, config, options) {
  const port = await freePort();
  const given = JSON.stringify({ port, config: { workers: 2, ...config } });
  const source = `'use strict';\n(${growing})({ ...${given}, respond: (${answering})() });\n`;
  const file = write(t, source);
  const running = run(t, file, options);
  await running.until(/the cluster is ready/);
  /** What the primary's program was told when it called a method. */
  let orders = 0;
  const order = (verb, argument) => {
    fs.writeFileSync(`${file}.order`, JSON.stringify([verb, argument]));
    running.signal('SIGWINCH');
    orders += 1;
    return running.untilMany(orders, /^(?:restartCluster|scaleUp|updateConfig): (.*)$/m).then((all) => all.at(-1)[1]);
  };
  /** What the worker answered; of the one with this id. */
  const get = async (path = '/', id = undefined) => {
    if (id === undefined) return (await request(port, { path })).json();
    for (;;) {
      // The second request goes where the first one went.
      const client = keepAlive(port);
      try {
        const answer = (await client.request({ path: '/' })).json();
        if (answer.id === id) return path === '/' ? answer : (await client.request({ path })).json();
      } finally {
        client.close();
      }
    }
  };
  return { port, running, get, order };
}

/** Requests on kept connections and on new ones, until the returned function is called: the number of both. */
function load(t, port) {
  const over = new AbortController();
  t.after(() => over.abort());
  const kept = [1, 2, 3].map((seed) => ask(port, seed, over.signal));
  const fresh = (async () => {
    let served = 0;
    for (; !over.signal.aborted; served += 1) assert.equal((await request(port)).status, 200);
    return served;
  })();
  const all = Promise.all([fresh, ...kept]);
  all.catch(() => {});
  return async () => {
    over.abort();
    const [served, ...clients] = await all;
    return served + clients.reduce((sum, { answered }) => sum + answered, 0);
  };
}

/** A control group of this test's own, which drover may divide; null if the test is skipped. */
function ownGroup(t, limits) {
  try {
    return controlGroup(t, limits);
  } catch (error) {
    return skip(t, `no control group can be made here: ${error.message}`, error, { forbidden: true });
  }
}

/** Tells one worker to grow; resolves to its answer. */
const grow = ({ get }, to) => get(`/grow?to=${to}`);

test('over its soft limit a worker is replaced under load without a failed request', async (t) => {
  const running = await cluster(t, { resources: { maxMemoryPerWorker: '150MB' } });
  const served = load(t, running.port);
  const { id, pid } = await grow(running, 170);
  const { value, allowed, samples, action } = await running.running.event('worker:limit', { worker: id, limit: 'memory', action: 'replace' });
  assert.ok(value > allowed && allowed === 150 * MB && action === 'replace', `${value} of ${allowed}`);
  assert.ok(samples.slice(-3).every((sample) => sample > allowed), samples.join());
  await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'stopped' });
  assert.ok((await served()) > 100);
  assert.deepEqual(running.running.events('worker:limit').length, 1, 'the other one is within its limit');
});

test('the lower one of processManagement.memoryThreshold and maxMemoryPerWorker is the soft limit', async (t) => {
  const [lower, higher] = ['150MB', '1GB'];
  const replaces = async ([memoryThreshold, maxMemoryPerWorker, option]) => {
    const running = await cluster(t, { processManagement: { memoryThreshold }, resources: { maxMemoryPerWorker } });
    const { id, pid } = await grow(running, 170);
    const limit = await running.running.event('worker:limit', { worker: id, limit: 'memory', action: 'replace' });
    assert.equal(limit.allowed, 150 * MB);
    assert.ok(limit.msg.includes(`(${option})`), limit.msg);
    await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'stopped' });
  };
  const configured = [
    [lower, undefined, 'processManagement.memoryThreshold'],
    [lower, higher, 'processManagement.memoryThreshold'],
    [higher, lower, 'resources.maxMemoryPerWorker'],
  ];
  await Promise.all(configured.map(replaces));
});

test('a limit that the program needs more than is an alert, and replaces nobody', async (t) => {
  const { running } = await cluster(t, { resources: { maxMemoryPerWorker: '32MB' } });
  const [{ msg }] = await running.eventMany(2, 'alert', { cause: 'limit', limit: 'memory' });
  assert.match(msg, /^Worker \d is not replaced: it uses \d+ MB, above its limit of 32 MB \(resources.maxMemoryPerWorker\) ever since/);
  assert.deepEqual(running.events('worker:exit'), []);
});

test('above the hard limit a worker is killed, and the log says why with its last samples', async (t) => {
  const resources = { maxMemoryPerWorker: '150MB', enforcement: { killOnMemoryExceed: true } };
  const running = await cluster(t, { resources });
  const { id, pid } = await grow(running, 400);
  const limit = await running.running.event('worker:limit', { worker: id, limit: 'memory', action: 'kill' });
  assert.match(limit.msg, /^Worker \d is killed: it uses \d+ MB, above its hard limit of 150 MB \(100 % of resources\.maxMemoryPerWorker\)\. Its last samples: (\d+ MB, )*\d+ MB$/);
  const exit = await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'memory_limit', signal: 'SIGKILL' });
  assert.ok(exit.time - limit.time <= 300, `${exit.time - limit.time} ms`);
  // Four samples a second: it had grown by less than a second's 200 MB.
  assert.ok(limit.value < 350 * MB, `${limit.value}`);
});

test('with killOnMemoryExceed a worker is killed at its limit, before the kernel would end it above that', async (t) => {
  const group = ownGroup(t, { memory: 2000 * MB });
  if (group === null) return;
  const enforcement = { enforceHardLimits: true, killOnMemoryExceed: true };
  const { running, get } = await cluster(t, { resources: { maxMemoryPerWorker: '300MB', enforcement } }, group.options);
  assert.ok(Object.keys(leaves(group, 'cgroup.procs')).length === 2, 'the kernel has limits too');
  // 50 MB/s: between two looks of the sampler it grows by less than the tenth that the kernel allows above.
  const { pid } = await get('/grow?to=1000&pause=200', '0');
  const limit = await running.event('worker:limit', { worker: '0', limit: 'memory', action: 'kill' });
  assert.equal(limit.allowed, 300 * MB);
  assert.match(limit.msg, /above its hard limit of 300 MB \(100 % of resources\.maxMemoryPerWorker\)/);
  await running.event('worker:exit', { worker: '0', workerPid: pid, reason: 'memory_limit', signal: 'SIGKILL' });
});

test('the kernel enforces the hard limit where the control group is delegated, and the exit names it', async (t) => {
  const group = ownGroup(t, { memory: 2000 * MB });
  if (group === null) return;
  const resources = { maxMemoryPerWorker: '150MB', enforcement: { enforceHardLimits: true } };
  const running = await cluster(t, { resources }, group.options);
  const { id, pid } = await grow(running, 400);
  const exit = await running.running.event('worker:exit', { worker: id, workerPid: pid });
  assert.equal(exit.reason, 'out_of_memory');
  assert.match(exit.msg, /killed by the kernel because memory ran out \(OOM killer\)/);
});

test('a worker is replaced after its requests or its age, one at a time, without a failed request', async (t) => {
  for (const [resources, limit] of [
    [{ maxRequestsPerWorker: 300 }, 'requests'],
    [{ maxAgePerWorker: '11s' }, 'age'],
  ]) {
    const { port, running } = await cluster(t, { resources });
    const served = load(t, port);
    await running.eventMany(2, 'worker:limit', { limit, action: 'replace' });
    const [first, second] = running.events('worker:limit');
    await running.event('worker:exit', { worker: second.worker });
    const [exit] = running.events('worker:exit', { worker: first.worker });
    assert.ok(exit.time <= second.time, 'the second one waits for the end of the first');
    assert.ok((await served()) > 300);
  }
});

const niceness = (pid) => Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[16]);

test('workers get the priority, the CPU and the I/O priority that are asked for', async (t) => {
  const resources = { priorityLevel: 'low', performanceOptimization: { cpuOptimization: true, ioOptimization: true } };
  const { get } = await cluster(t, { resources });
  for (const id of ['0', '1']) {
    const { pid } = await get('/', id);
    assert.equal(niceness(pid), Math.min(niceness('self') + 10, 19));
    assert.match(fs.readFileSync(`/proc/${pid}/status`, 'utf8'), /^Cpus_allowed_list:\t\d+$/m);
    assert.equal(spawnSync('ionice', ['-p', String(pid)]).stdout.toString().trim(), 'best-effort: prio 0');
  }
});

test('a higher priority that the user may not have is said once, and the workers serve without it', async (t) => {
  const { running, get, order } = await cluster(t, { resources: { priorityLevel: 'high' } }, nobody);
  const text =
    "The workers do not have the priority of resources.priorityLevel 'high': this user may not raise priorities (CAP_SYS_NICE, ulimit -e)";
  await running.until(/this user may not raise priorities/);
  const own = niceness('self');
  for (const id of ['0', '1']) assert.equal(niceness((await get('/', id)).pid), own);
  assert.equal(await order('scaleUp', 1), 'done');
  assert.equal(niceness((await get('/', '2')).pid), own);
  assert.equal(running.raw.split(text).length - 1, 1, running.raw);
  assert.deepEqual(running.events('worker:exit'), []);
});

test('workers get a higher priority from a user who may raise it', async (t) => {
  const { running, get } = await cluster(t, { resources: { priorityLevel: 'high' } });
  const { pid } = await get();
  if (/this user may not raise priorities/.test(running.raw)) {
    return skip(t, 'this user may not raise priorities', undefined, { forbidden: true });
  }
  assert.equal(niceness(pid), Math.max(niceness('self') - 5, -20));
});

/** How each thread of a process is scheduled: what they all have, or a list of differences. */
function scheduling(pid) {
  const of = (thread) => {
    const status = fs.readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    const io = spawnSync('ionice', ['-p', thread]).stdout.toString().trim();
    return JSON.stringify([niceness(`${pid}/task/${thread}`), status.match(/^Cpus_allowed_list:\t(.*)$/m)[1], io]);
  };
  const found = new Set(fs.readdirSync(`/proc/${pid}/task`).map(of));
  return found.size === 1 ? JSON.parse([...found][0]) : [...found];
}

test('updateConfig changes the priority, the CPU and the I/O priority of workers that run, with all of their threads', async (t) => {
  const { running, get, order } = await cluster(t, {});
  const pids = [(await get('/', '0')).pid, (await get('/', '1')).pid];
  const [own, cpus, io] = scheduling('self');
  for (const pid of pids) assert.deepEqual(scheduling(pid), [own, cpus, io]);
  const optimized = (value) => ({ performanceOptimization: { cpuOptimization: value, ioOptimization: value } });
  assert.equal(await order('updateConfig', { resources: { priorityLevel: 'low', ...optimized(true) } }), 'done');
  const pinned = pids.map(scheduling);
  for (const [nice, cpu, priority] of pinned) {
    assert.deepEqual([nice, priority], [Math.min(own + 10, 19), 'best-effort: prio 0']);
    assert.match(cpu, /^\d+$/);
  }
  assert.equal(pinned[0][1] === pinned[1][1], /^\d+$/.test(cpus), 'each has a CPU of its own, if there are two');
  assert.equal(await order('scaleUp', 1), 'done');
  const [nice, cpu, priority] = scheduling((await get('/', '2')).pid);
  assert.deepEqual([nice, /^\d+$/.test(cpu), priority], [Math.min(own + 10, 19), true, 'best-effort: prio 0']);
  assert.equal(await order('updateConfig', { resources: optimized(false) }), 'done');
  for (const pid of pids) assert.deepEqual(scheduling(pid), [Math.min(own + 10, 19), cpus, io]);
  assert.equal(await order('updateConfig', { resources: { priorityLevel: 'normal' } }), 'done');
  if (/this user may not raise priorities/.test(running.raw)) {
    return skip(t, 'this user may not raise priorities', undefined, { forbidden: true });
  }
  for (const pid of pids) assert.deepEqual(scheduling(pid), [own, cpus, io]);
  assert.deepEqual(running.events('worker:exit'), []);
});

test('a priority that workers which run may not get back is said once, and new ones have it', async (t) => {
  const { running, get, order } = await cluster(t, { resources: { priorityLevel: 'low' } }, nobody);
  const pids = [(await get('/', '0')).pid, (await get('/', '1')).pid];
  const own = niceness('self');
  assert.equal(await order('updateConfig', { resources: { priorityLevel: 'normal' } }), 'done');
  await running.until(/this user may not raise priorities/);
  for (const pid of pids) assert.equal(niceness(pid), Math.min(own + 10, 19));
  assert.equal(await order('scaleUp', 1), 'done');
  assert.equal(niceness((await get('/', '2')).pid), own);
  const said = running.raw.match(/The running workers keep the priority that they had before resources\.priorityLevel was changed/g);
  assert.equal(said.length, 1, running.raw);
});

test('the heap of a worker fits its memory limit unless the user set it', { skip: isBun && 'V8 alone has the option' }, async (t) => {
  const heap = async (config) => (await (await cluster(t, config)).get()).heap / MB;
  const limited = await heap({ resources: { maxMemoryPerWorker: '400MB' } });
  assert.ok(limited >= 440 && limited < 520, `${limited} MB`);
  const own = await heap({ resources: { maxMemoryPerWorker: '400MB' }, execArgv: ['--max-old-space-size=100'] });
  assert.ok(own >= 100 && own < 200, `${own} MB`);
});

test('in lowMemoryMode V8 gets its options of size, but those that the user set', { skip: isBun && 'V8 alone has the options' }, async (t) => {
  const resources = { performanceOptimization: { lowMemoryMode: true } };
  const { execArgv } = await (await cluster(t, { resources })).get();
  assert.deepEqual(execArgv, ['--optimize-for-size', '--max-semi-space-size=2']);
  const own = await (await cluster(t, { resources, execArgv: ['--max-semi-space-size=8'] })).get();
  assert.deepEqual(own.execArgv, ['--optimize-for-size', '--max-semi-space-size=8']);
  const { execArgv: without } = await (await cluster(t, {})).get();
  assert.deepEqual(without, []);
});

test('new workers share the budget with all that there will be', { skip: isBun && 'V8 alone has the option' }, async (t) => {
  const { get, order } = await cluster(t, { resources: { memoryManagement: { maxTotalMemory: '2GB' } } });
  const heap = async (id) => (await get('/', id)).heap / MB;
  assert.equal(await order('scaleUp', 2), 'done');
  const [early, late] = [await heap('0'), await heap('3')];
  assert.ok(early >= 1126 && early < 1226, `${early} MB`);
  assert.ok(late >= 563 && late < 663, `${late} MB`);
});

test('a scale-up that would break the budget of memory is refused with its reason', async (t) => {
  const resources = { memoryManagement: { maxTotalMemory: '200MB' } };
  const { running, order } = await cluster(t, { resources, monitoring: { metricsInterval: 1000 } });
  // A second after the first sample, which tells what a worker uses.
  await running.until(/METRICS/);
  const told = await order('scaleUp', 8);
  assert.match(
    told,
    /^RESOURCE_EXHAUSTED No room for 8 more workers of \d+ MB each: \d+ MB of the budget of 200 MB are free \(resources\.memoryManagement\.maxTotalMemory\), enough for [012]$/,
  );
});

test('near the end of the budget the largest worker is replaced first, without a failed request', async (t) => {
  const running = await cluster(t, { resources: { memoryManagement: { maxTotalMemory: '400MB' } } });
  const served = load(t, running.port);
  const { id, pid } = await grow(running, 260);
  const limit = await running.running.event('worker:limit', { limit: 'totalMemory', action: 'replace' });
  assert.equal(limit.worker, id);
  assert.match(limit.msg, /^Worker \d, the largest with \d+ MB, is replaced: all workers together use \d+ MB of 400 MB/);
  await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'stopped' });
  assert.ok((await served()) > 100);
});

test("of maxTotalMemory and the control group's limit the one that is nearer to its end counts", async (t) => {
  for (const [maxTotalMemory, limit] of [[8192, 1000], [400, 4000]]) {
    const group = ownGroup(t, { memory: limit * MB });
    if (group === null) return;
    const resources = { memoryManagement: { maxTotalMemory: maxTotalMemory * MB } };
    const running = await cluster(t, { resources }, group.options);
    const tighter = Math.min(maxTotalMemory, limit);
    const { id, pid } = await grow(running, tighter * 0.7);
    const { worker, allowed, msg } = await running.running.event('worker:limit', { limit: 'totalMemory', action: 'replace' });
    assert.deepEqual([worker, allowed], [id, tighter * MB], msg);
    await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'stopped' });
  }
});

/** Resident memory of a process, bytes. */
const resident = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)[1]) * 1024;

test('near the end of the budget a worker that leaks is replaced before a larger one that does not', async (t) => {
  const memoryManagement = { maxTotalMemory: '8GB', memoryCheckInterval: 1000 };
  const running = await cluster(t, { workers: 3, resources: { memoryManagement } });
  const served = load(t, running.port);
  const all = await Promise.all(['0', '1', '2'].map((id) => running.get('/', id)));
  const [large, leaking] = all;
  await running.get('/devour?at=700', large.id);
  await running.get('/grow?to=4000&pause=500', leaking.id);
  await running.running.event('alert', { cause: 'memory_leak', worker: leaking.id });
  assert.equal(running.running.events('alert', { cause: 'memory_leak' }).length, 1, 'the other one does not leak');
  const sizes = all.map(({ pid }) => resident(pid));
  assert.ok(sizes[0] > sizes[1] * 1.25 && sizes[1] > sizes[2], sizes.join());
  assert.deepEqual(running.running.events('worker:limit'), [], 'the budget is far from its end');
  const total = sizes.reduce((sum, size) => sum + size);
  const near = { resources: { memoryManagement: { maxTotalMemory: Math.round(total / 0.85) } } };
  assert.equal(await running.order('updateConfig', near), 'done');
  const limit = await running.running.event('worker:limit', { limit: 'totalMemory' });
  assert.deepEqual([limit.worker, limit.action], [leaking.id, 'replace'], limit.msg);
  assert.match(limit.msg, /^Worker 1, the largest that leaks with \d+ MB, is replaced: all workers together use \d+ MB of \d+ MB/);
  await running.running.event('worker:exit', { worker: leaking.id, workerPid: leaking.pid, reason: 'stopped' });
  assert.ok((await served()) > 100);
  assert.deepEqual(running.running.events('worker:exit').length, 1, 'nobody else makes room');
});

test('a kill by the kernel in a group around all workers is named in worker:exit, the log and the errors', async (t) => {
  const group = ownGroup(t, { memory: 700 * MB });
  if (group === null) return;
  const monitoring = { port: 0, metricsInterval: 1000 };
  // drover would not wait until the memory is full.
  const resources = { memoryManagement: { enabled: false } };
  const { running, get } = await cluster(t, { monitoring, resources }, group.options);
  const api = await monitoringPort(running);
  const [{ pid }, other] = [await get('/devour?at=2000', '0'), await get('/', '1')];
  const exit = await running.event('worker:exit', { worker: '0' });
  assert.deepEqual([exit.workerPid, exit.reason, exit.signal], [pid, 'out_of_memory', 'SIGKILL']);
  assert.match(exit.msg, /^Worker 0 was killed by the kernel because memory ran out \(OOM killer\): .*SIGKILL/);
  /** The deaths of workers that are known as errors, once there are so many: the log may be earlier. */
  const deaths = async (count) => {
    for (const until = performance.now() + 60_000; ; ) {
      const { errors } = (await request(api, { path: '/cluster/errors' })).json();
      const found = errors.filter(({ workers }) => workers.length > 0).map(({ message, workers }) => [message, ...workers]);
      if (found.length >= count || performance.now() > until) return found;
    }
  };
  assert.deepEqual(await deaths(1), [["ended with signal SIGKILL: memory ran out, and the kernel's OOM killer chose it", '0']]);
  // Its kill counts for the last two samples.
  const seen = running.stdout.match(/METRICS/g)?.length ?? 0;
  await running.untilMany(seen + 4, /METRICS/);
  process.kill(other.pid, 'SIGKILL');
  const killed = await running.event('worker:exit', { worker: '1' });
  assert.deepEqual([killed.reason, killed.signal], ['killed', 'SIGKILL'], 'not every SIGKILL is the kernel’s');
  const told = await deaths(2);
  assert.equal(told.length, 2);
  assert.ok(told.some(([message, worker]) => worker === '1' && /nobody had asked it to end/.test(message)), told.join());
});

test('updateConfig changes limits of the running cluster, in the primary and for a worker', async (t) => {
  const running = await cluster(t, {});
  const { id, pid } = await grow(running, 170);
  await running.get('/', id);
  assert.equal(await running.order('updateConfig', { resources: { maxMemoryPerWorker: '150MB' } }), 'done');
  await running.running.until(/Configuration changed: resources\.maxMemoryPerWorker null -> 157286400/);
  await running.running.event('worker:limit', { worker: id, action: 'replace' });
  await running.running.event('worker:exit', { worker: id, workerPid: pid, reason: 'stopped' });
});

test('updateConfig refuses what needs a restart and what is invalid, and changes nothing then', async (t) => {
  const { running, order } = await cluster(t, {});
  const fixed = await order('updateConfig', { workers: 4, limits: { memory: 256 } });
  assert.match(fixed, /^RESTART_REQUIRED workers cannot change while the cluster runs/);
  const invalid = await order('updateConfig', { limits: { memory: 'much' } });
  assert.match(invalid, /^CONFIGURATION_INVALID [^]*limits\.memory/);
  assert.doesNotMatch(running.raw, /Configuration changed/);
});

/** What a file of each worker's leaf in the group says, by slot; null: there is no such file. */
function leaves({ folders: [folder] }, file) {
  const names = fs.readdirSync(folder).filter((name) => /^drover-\d+-\d+-\d+$/.test(name));
  const read = (name) => {
    const place = path.join(folder, name, file);
    return fs.existsSync(place) ? fs.readFileSync(place, 'utf8').trim() : null;
  };
  return Object.fromEntries(names.map((name) => [name.split('-')[2], read(name)]));
}

test('each worker has a leaf with its limit of memory, in version 2 with memory.high below, until it has ended', async (t) => {
  const group = ownGroup(t, { memory: 2000 * MB });
  if (group === null) return;
  const resources = { maxMemoryPerWorker: '200MB', enforcement: { enforceHardLimits: true } };
  const { running, get, order } = await cluster(t, { resources }, group.options);
  const { pid, id } = await get();
  assert.ok(leaves(group, 'cgroup.procs')[id].split('\n').includes(String(pid)));
  /** In pages, as the kernel rounds. */
  const limits = (file) => Object.values(leaves(group, file)).map((bytes) => bytes && Math.round(Number(bytes) / 4096));
  const isVersion1 = limits('memory.max')[0] === null;
  const expect = (soft) => {
    const within = (file, bytes) => {
      const pages = limits(file);
      assert.ok(pages.length === 2 && pages.every((count) => Math.abs(count - bytes / 4096) <= 1), `${file}: ${pages}`);
    };
    within(isVersion1 ? 'memory.limit_in_bytes' : 'memory.max', soft * 1.1);
    if (!isVersion1) within('memory.high', soft * 1.05);
  };
  expect(200 * MB);
  assert.equal(await order('updateConfig', { resources: { maxMemoryPerWorker: '300MB' } }), 'done');
  expect(300 * MB);
  running.signal('SIGTERM');
  await running.gone();
  assert.deepEqual(leaves(group, 'cgroup.procs'), {});
});

test('a hard limit of memory that comes later is enforced for workers that run, though their groups have none', async (t) => {
  const group = ownGroup(t, { memory: 2000 * MB, pids: 1000 });
  if (group === null) return;
  // They are in groups, for another limit.
  const { running, get, order } = await cluster(t, { security: { limits: { processes: 100 } } }, group.options);
  const { pid } = await get('/devour?at=200', '0');
  while ((await get('/', '0')).kept < 4);
  const resources = { maxMemoryPerWorker: '150MB', enforcement: { enforceHardLimits: true } };
  assert.equal(await order('updateConfig', { resources }), 'done');
  const exit = await running.event('worker:exit', { worker: '0' });
  assert.deepEqual([exit.workerPid, exit.reason], [pid, 'memory_limit']);
  assert.equal(running.events('worker:exit').length, 1);
});

test('a lower limit of memory ends a worker that uses more, also where the kernel refuses it', async (t) => {
  const group = ownGroup(t, { memory: 2000 * MB });
  if (group === null) return;
  const resources = { maxMemoryPerWorker: '600MB', enforcement: { enforceHardLimits: true } };
  const { running, get, order } = await cluster(t, { resources }, group.options);
  const isVersion1 = Object.values(leaves(group, 'memory.max'))[0] === null;
  if (isVersion1 && !/^SwapTotal: +0 kB$/m.test(fs.readFileSync('/proc/meminfo', 'utf8'))) {
    return skip(t, 'the kernel moves memory to swap instead of refusing the limit', undefined, { forbidden: true });
  }
  const { pid } = await get('/devour?at=300', '0');
  while ((await get('/', '0')).kept < 6);
  assert.equal(await order('updateConfig', { resources: { maxMemoryPerWorker: '200MB' } }), 'done');
  const exit = await running.event('worker:exit', { worker: '0' });
  assert.deepEqual([exit.workerPid, exit.reason], [pid, isVersion1 ? 'memory_limit' : 'out_of_memory']);
  const refusal = /The kernel refused the limit of worker 0's memory \(.*\): the worker's memory is watched four times a second instead/;
  assert.equal(refusal.test(running.raw), isVersion1, running.raw);
});

test('a worker has no more processes than security.limits.processes', async (t) => {
  const group = ownGroup(t, { pids: 1000 });
  if (group === null) return;
  const { get } = await cluster(t, { security: { limits: { processes: 40 } } }, group.options);
  const { pid, id } = await get();
  assert.ok(leaves(group, 'cgroup.procs')[id].split('\n').includes(String(pid)));
  assert.deepEqual(leaves(group, 'pids.max'), { 0: '40', 1: '40' });
});

test('a worker may use a tenth more than maxCpuPerWorker, so that one above it is seen', async (t) => {
  const group = ownGroup(t, { cpu: Infinity });
  if (group === null) return;
  const resources = { maxCpuPerWorker: 50, enforcement: { enforceHardLimits: true } };
  const { get, order } = await cluster(t, { resources }, group.options);
  const { pid, id } = await get();
  assert.ok(leaves(group, 'cgroup.procs')[id].split('\n').includes(String(pid)));
  const quotas = () => {
    const [first, second] = ['cpu.max', 'cpu.cfs_quota_us'].map((file) => Object.values(leaves(group, file)));
    return first[0] === null ? second : first.map((text) => text.split(' ')[0]);
  };
  assert.deepEqual(quotas(), ['55000', '55000']);
  assert.equal(await order('updateConfig', { resources: { maxCpuPerWorker: 80 } }), 'done');
  assert.deepEqual(quotas(), ['88000', '88000']);
});

test('updateConfig sets security.limits.processes at once, also for workers that had no such limit', async (t) => {
  const group = ownGroup(t, { pids: 1000 });
  if (group === null) return;
  const { get, order } = await cluster(t, {}, group.options);
  assert.deepEqual(leaves(group, 'pids.max'), {}, 'no limit, no groups');
  const { pid, id } = await get();
  const limit = (processes) => order('updateConfig', { security: { limits: { processes } } });
  assert.equal(await limit(50), 'done');
  assert.deepEqual(leaves(group, 'pids.max'), { 0: '50', 1: '50' });
  assert.ok(leaves(group, 'cgroup.procs')[id].split('\n').includes(String(pid)));
  assert.equal(await order('restartCluster'), 'done');
  assert.deepEqual(leaves(group, 'pids.max'), { 0: '50', 1: '50' });
  assert.equal(await limit(60), 'done');
  assert.deepEqual(leaves(group, 'pids.max'), { 0: '60', 1: '60' });
});

test('a worker at its limit of connections is an event once, and no alert', async (t) => {
  const { port, running } = await cluster(t, { workers: 1, resources: { maxConnectionsPerWorker: 2 } });
  const clients = [keepAlive(port), keepAlive(port)];
  t.after(() => clients.forEach((client) => client.close()));
  for (const client of clients) assert.equal((await client.request()).status, 200);
  const { worker, action, value, allowed, msg } = await running.event('worker:limit', { limit: 'connections' });
  assert.deepEqual([worker, action, value, allowed], ['0', 'wait', 2, 2]);
  assert.match(msg, /^Worker 0 has reached its limit of 2 connections \(resources\.maxConnectionsPerWorker\)/);
  assert.deepEqual(running.events('alert'), []);
});

test('updateConfig gives workers that run a quota of CPU, beside the groups that they are in', async (t) => {
  const group = ownGroup(t, { pids: 1000, cpu: Infinity });
  if (group === null) return;
  const { get, order } = await cluster(t, { security: { limits: { processes: 100 } } }, group.options);
  const { pid, id } = await get();
  const resources = { maxCpuPerWorker: 80, enforcement: { enforceHardLimits: true } };
  assert.equal(await order('updateConfig', { resources }), 'done');
  const ofCpu = { folders: group.folders.slice(1) };
  const [unified, own] = ['cpu.max', 'cpu.cfs_quota_us'].map((file) => leaves(ofCpu, file)[id] ?? null);
  assert.equal(unified?.split(' ')[0] ?? own, '88000');
  assert.ok(leaves(ofCpu, 'cgroup.procs')[id].split('\n').includes(String(pid)));
});

test('updateConfig limits the connections of each worker, and lets those that wait in', async (t) => {
  const { port, order } = await cluster(t, {});
  const open = async () => {
    const client = await tcp(port);
    client.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    return client;
  };
  assert.equal(await order('updateConfig', { resources: { maxConnectionsPerWorker: 1 } }), 'done');
  const within = [await open(), await open()];
  for (const client of within) assert.match(await client.line(), /^HTTP\/1\.1 200/);
  const beyond = await open();
  const answered = beyond.line();
  // Its answer would have come before this order's result: the accept thread takes both in order.
  assert.equal(await order('updateConfig', { resources: { maxRequestsPerWorker: 1_000_000 } }), 'done');
  const state = await Promise.race([answered, new Promise((resolve) => setImmediate(resolve, 'waits'))]);
  assert.equal(state, 'waits');
  assert.equal(await order('updateConfig', { resources: { maxConnectionsPerWorker: 2 } }), 'done');
  assert.match(await answered, /^HTTP\/1\.1 200/);
  for (const client of [...within, beyond]) client.socket.destroy();
});
