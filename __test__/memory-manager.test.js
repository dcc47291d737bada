'use strict';

// The MemoryManager: the kernel's and the workers' own figures, and verdicts on them.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const { test } = require('node:test');
const { MemoryManager } = require('..');
const { freePort, request } = require('./helpers/http');
const { program, withDescriptors } = require('./helpers/program');

const MB = 1 << 20;

function manager(t, config) {
  const made = new MemoryManager(config);
  t.after(() => made.destroy());
  return made;
}

test('the machine’s memory is what the kernel or the control group allows', async (t) => {
  const stats = await manager(t).getSystemMemoryStats();
  const kernel = Number(fs.readFileSync('/proc/meminfo', 'utf8').match(/MemTotal:\s+(\d+)/)[1]) * 1024;
  assert.ok(stats.totalMemory > 0 && stats.totalMemory <= kernel, JSON.stringify(stats));
  assert.equal(stats.usedMemory, stats.totalMemory - stats.availableMemory);
  assert.ok(Math.abs(stats.usagePercentage - (stats.usedMemory / stats.totalMemory) * 100) < 0.01);
  assert.ok(stats.swapFree <= stats.swapTotal && stats.swapPercentage >= 0 && stats.swapPercentage <= 100);
});

test('of another process the resident memory is known, and not the heap', async (t) => {
  const text = 'const bytes = Buffer.alloc(64 << 20, 1); console.log(1); setInterval(() => bytes, 1e6)';
  const child = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const { memoryUsage, ...stats } = await manager(t).getWorkerMemoryStats('a', child.pid);
  assert.deepEqual([stats.workerId, stats.pid], ['a', child.pid]);
  const { rss, ...heap } = memoryUsage;
  assert.ok(rss > 64 * MB && stats.uptime > 0 && stats.cpuUsage >= 0, JSON.stringify(stats));
  assert.deepEqual(heap, { heapTotal: null, heapUsed: null, external: null, arrayBuffers: null });
});

test('of the own process everything is known; of none an error', async (t) => {
  const own = manager(t);
  const { memoryUsage } = await own.getWorkerMemoryStats('self', process.pid);
  for (const bytes of Object.values(memoryUsage)) assert.ok(Number.isInteger(bytes) && bytes > 0, JSON.stringify(memoryUsage));
  for (const pid of [0, -1, 1.5, 4_194_305]) {
    await assert.rejects(own.getWorkerMemoryStats('x', pid), { code: 'INVALID_ARGUMENT' }, String(pid));
  }
});

test('memory is compared with the limit of one worker, else of all', (t) => {
  const own = manager(t, { maxMemoryPerWorker: '100MB', maxTotalMemory: '1GB' });
  const result = (megabytes) => own.checkMemoryLimits('0', megabytes * MB);
  assert.deepEqual(result(50), { withinLimits: true, status: 'ok', usagePercentage: 50, limit: 100 * MB });
  const statuses = [79, 80, 95, 100, 101].map((megabytes) => result(megabytes).status);
  assert.deepEqual(statuses, ['ok', 'warning', 'critical', 'critical', 'exceeded']);
  assert.equal(result(101).withinLimits, false);
  const total = manager(t, { maxTotalMemory: '1GB', memoryWarningThreshold: 10 }).checkMemoryLimits('0', 200 * MB);
  assert.deepEqual([total.status, total.limit], ['warning', 1024 * MB]);
  assert.deepEqual(manager(t).checkMemoryLimits('0', MB), { withinLimits: true, status: 'ok', usagePercentage: 0, limit: null });
  for (const bytes of [-1, NaN, Infinity]) assert.throws(() => own.checkMemoryLimits('0', bytes), { code: 'INVALID_ARGUMENT' });
});

test('a configuration is checked as that of a cluster', () => {
  assert.throws(
    () => new MemoryManager({ maxMemoryPerWorker: 5, memoryWarningThreshold: 500, memoryCheckIntervall: 5 }),
    ({ name, message }) => {
      assert.equal(name, 'ConfigurationError');
      for (const key of ['maxMemoryPerWorker', 'memoryWarningThreshold', 'memoryCheckInterval']) assert.match(message, new RegExp(key));
      return true;
    },
  );
});

test('samples that grow evenly and fast are a leak, and others are none', (t) => {
  const own = manager(t);
  const samples = Array.from({ length: 10 }, (_, at) => at);
  const found = samples.map((at) => own.detectMemoryLeak('leaks', (100 + 20 * at) * MB));
  assert.deepEqual([found[0], found[6], found[9]], [false, false, true]);
  for (const at of samples) assert.equal(own.detectMemoryLeak('level', (100 + (at % 3)) * MB), false);
  for (const at of samples) assert.equal(own.detectMemoryLeak('full', (100 + 20 * Math.min(at, 3)) * MB), false);
});

test('as many workers are optimal as memory and CPUs allow', async (t) => {
  const own = manager(t, { maxTotalMemory: '96MB' });
  assert.equal(await own.calculateOptimalWorkerCount(), 1);
  const stats = await own.getSystemMemoryStats();
  const count = await manager(t).calculateOptimalWorkerCount({ ...stats, availableMemory: 2 ** 40, totalMemory: 2 ** 40 });
  assert.ok(count >= 1 && count <= require('node:os').availableParallelism(), String(count));
  await assert.rejects(own.calculateOptimalWorkerCount({}), { code: 'INVALID_ARGUMENT' });
  const { recommendations, potentialSavings, optimalWorkerCount } = await own.getMemoryOptimizationRecommendations();
  assert.ok(Array.isArray(recommendations) && potentialSavings >= 0 && optimalWorkerCount === 1);
});

test('monitoring emits what the methods return, and does not keep the process alive', async (t) => {
  const own = manager(t, { memoryWarningThreshold: 0.001, memoryCriticalThreshold: 99.9 });
  const hold = setInterval(() => {}, 1e6);
  t.after(() => clearInterval(hold));
  own.startMonitoring(20);
  const [[stats], [pressure]] = await Promise.all([once(own, 'stats'), once(own, 'warning')]);
  assert.deepEqual(stats.workers, []);
  assert.equal(stats.system.totalMemory, (await own.getSystemMemoryStats()).totalMemory);
  assert.equal(pressure.workerId, undefined);
  assert.match(pressure.message, /of the memory is used: .* are available/);
  own.stopMonitoring();
  assert.throws(() => own.startMonitoring('soon'), { code: 'INVALID_ARGUMENT' });
  const text = `const { MemoryManager } = require(${JSON.stringify(require.resolve('..'))}); new MemoryManager().startMonitoring(5)`;
  const child = spawn(process.execPath, ['-e', text], { stdio: 'inherit' });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'close'), [0, null]);
});

/** Workers that collect their heap at /collect; a MemoryManager in each process, of which /told and stdout tell. */
function watched({ port }) {
  const http = require('node:http');
  const { MemoryManager, createServer } = require('drover');
  require('node:v8').setFlagsFromString('--expose-gc');
  const collect = require('node:vm').runInNewContext('gc');
  const manager = new MemoryManager({ maxMemoryPerWorker: '4GB' });
  const figures = async () => {
    const infos = app.getAllWorkers();
    const stats = await Promise.all(infos.map(({ id, pid }) => manager.getWorkerMemoryStats(id, pid)));
    return JSON.stringify({ infos, stats });
  };
  const server = http.createServer(async ({ url }, response) => {
    if (url === '/collect') {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      return response.end(JSON.stringify({ pid: process.pid, kept: heapUsed + external }));
    }
    response.end(await figures());
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2 } } });
  app.start(port, '127.0.0.1').then(() => {
    if (app.isWorker) return;
    manager.once('stats', ({ workers }) => console.log(`WATCHED ${workers.map(({ workerId }) => workerId).sort()}`));
    manager.startMonitoring(100);
    process.on('SIGUSR2', async () => console.log(`TOLD ${await figures()}`));
    console.log('the cluster is ready');
  });
}

test('the heap of the workers of this process’s clusters is known in every process of it', async (t) => {
  const port = await freePort();
  const cluster = program(t, watched, { given: { port } });
  await cluster.until(/the cluster is ready/);
  await cluster.until(/WATCHED 0,1/);
  const { pid, kept } = (await request(port, { path: '/collect' })).json();
  for (const source of ['primary', 'worker']) {
    if (source === 'primary') cluster.signal('SIGUSR2');
    const text = source === 'primary' ? (await cluster.until(/TOLD (.*)/))[1] : (await request(port)).body;
    const { infos, stats } = JSON.parse(text);
    const { heap } = infos.find((info) => info.pid === pid);
    const { memoryUsage } = stats.find((one) => one.pid === pid);
    assert.ok(Math.abs(heap.floor - kept) < 0.2 * kept, `${source}: the floor ${heap.floor} is what the collection left: ${kept}`);
    assert.ok(heap.majorCollections >= 1 && heap.used > 0 && heap.total >= heap.used, JSON.stringify(heap));
    assert.ok(memoryUsage.rss > memoryUsage.heapUsed && memoryUsage.heapUsed > MB, JSON.stringify(memoryUsage));
    assert.ok(Number.isInteger(memoryUsage.external) && Number.isInteger(memoryUsage.heapTotal));
  }
});

/** Two workers, of which worker 0 keeps 20 MB more each second if it `leaks`; the primary's MemoryManager tells its events. */
function monitored({ manager: config, leaks, interval }) {
  const http = require('node:http');
  const { MemoryManager, createServer } = require('drover');
  const manager = new MemoryManager(config);
  for (const name of ['warning', 'critical', 'leak']) manager.on(name, (payload) => console.log(`EVENT ${JSON.stringify({ name, ...payload })}`));
  manager.on('stats', () => console.log('STATS'));
  const kept = [];
  function remember() {
    kept.push(new Array(131072).fill(kept.length + 0.5));
  }
  const server = http.createServer((_, response) => response.end());
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 2, monitoring: { port: 0 } } } });
  app.start(0, '127.0.0.1').then(() => {
    if (app.isPrimary) manager.startMonitoring(interval);
    else if (leaks && app.workerId === '0') setInterval(remember, 50);
  });
}

const eventsIn = (text) => [...text.matchAll(/^EVENT (.*)$/gm)].map(([, json]) => JSON.parse(json));

test('a worker that leaks is a leak once, and critical when it comes near its limit', async (t) => {
  const given = { leaks: true, interval: 1000, manager: { maxMemoryPerWorker: '200MB', memoryCriticalThreshold: 90 } };
  const cluster = program(t, monitored, { given });
  const [, text] = await cluster.until(/^EVENT (.*"name":"leak".*)$/m);
  const leak = JSON.parse(text);
  assert.equal(leak.workerId, '0');
  assert.ok(leak.confidence >= 0.8 && ['heap', 'rss'].includes(leak.measure) && leak.samples >= 8, text);
  assert.ok(leak.bytesPerSecond > 10 * MB && leak.bytesPerSecond < 40 * MB, text);
  assert.ok(leak.to > leak.from && leak.timestamp > 0, text);
  assert.match(leak.message, /^Worker 0 leaks memory: /);
  const [, json] = await cluster.until(/^EVENT (.*"name":"critical".*"scope":"worker".*)$/m);
  const critical = JSON.parse(json);
  assert.deepEqual([critical.workerId, critical.scope, critical.limit], ['0', 'worker', 200 * MB]);
  assert.ok(critical.usage >= 180 * MB && critical.usagePercentage >= 90, json);
  assert.match(critical.message, /^Worker 0 uses \d+ MB, \d+ % of its limit of 200 MB$/);
  // It grows on.
  const looks = cluster.stdout.match(/^STATS$/gm).length;
  await cluster.untilMany(looks + 3, /^STATS$/m);
  const events = eventsIn(cluster.stdout).filter(({ scope }) => scope !== 'system');
  assert.equal(events.filter(({ name }) => name === 'leak').length, 1);
  assert.deepEqual([...new Set(events.map(({ workerId }) => workerId))], ['0'], 'the other one neither leaks nor is near its limit');
});

test('all workers together are compared with maxTotalMemory, though each is within its own limit', async (t) => {
  const given = { interval: 100, manager: { maxMemoryPerWorker: '1GB', maxTotalMemory: '64MB' } };
  const cluster = program(t, monitored, { given });
  const [, text] = await cluster.until(/^EVENT (.*"name":"critical".*"scope":"workers".*)$/m);
  const { workerId, usage, limit, usagePercentage, message } = JSON.parse(text);
  assert.deepEqual([workerId, limit], [undefined, 64 * MB]);
  assert.ok(usage >= 0.95 * limit && Math.abs(usagePercentage - (usage / limit) * 100) < 0.01, text);
  assert.match(message, /^All workers together use [\d.]+ MB, \d+ % of the limit of 64\.0 MB$/);
  assert.deepEqual(eventsIn(cluster.stdout).filter(({ scope }) => scope === 'worker'), []);
});

/** Opens files until there are no more descriptors, so that nothing can be read from /proc; closes them at the first failure. */
function exhausted({ isListening }) {
  const fs = require('node:fs');
  const { MemoryManager } = require('drover');
  const manager = new MemoryManager();
  setInterval(() => {}, 1e6);
  const open = [];
  const failed = ({ name, code, message }) => {
    for (const descriptor of open.splice(0)) fs.closeSync(descriptor);
    manager.once('stats', () => console.log('STATS AFTER'));
    console.log(`FAILED ${JSON.stringify({ name, code, message })}`);
  };
  if (isListening) manager.once('error', failed);
  else process.once('warning', failed);
  manager.once('stats', () => {
    try {
      for (;;) open.push(fs.openSync('/dev/null'));
    } catch ({ code }) {
      console.log(`FULL ${code}`);
    }
  });
  manager.startMonitoring(20);
}

for (const isListening of [true, false]) {
  const what = isListening ? 'emitted as an error' : 'a warning of the process if nobody listens';
  test(`a look that fails is ${what}, and the next ones go on`, async (t) => {
    const running = program(t, exhausted, { given: { isListening }, ...withDescriptors(128) });
    await running.until(/FULL EMFILE/);
    const [, text] = await running.until(/FAILED (.*)/);
    assert.deepEqual(JSON.parse(text), { name: 'ClusterError', code: 'SYSTEM', message: 'The memory of the system cannot be read' });
    await running.until(/STATS AFTER/);
  });
}
