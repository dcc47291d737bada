'use strict';

// The ProcessMonitor: what the kernel says of the machine and of a process is what it tells.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');
const { ProcessMonitor } = require('..');

function monitor(t) {
  const made = new ProcessMonitor();
  t.after(() => made.destroy());
  return made;
}

/** Within a part of it. */
const near = (value, expected, part) => Math.abs(value - expected) <= part * expected;

/** A process that takes memory and works, and then waits to be ended. */
async function working(t) {
  const text = `
    const bytes = Buffer.alloc(64 << 20, 1);
    const used = () => { const { user, system } = process.cpuUsage(); return user + system; };
    for (const end = Date.now() + 400; Date.now() < end || used() < 400_000;);
    console.log('done');
    setInterval(() => bytes, 1e6);
  `;
  const child = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

test('getProcessStats returns the kernel’s counts for another process', async (t) => {
  const child = await working(t);
  const stats = await monitor(t).getProcessStats(child.pid);
  const status = fs.readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const kernel = (/** @type {string} */ name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))[1]);

  assert.equal(stats.pid, child.pid);
  assert.ok(stats.memory.rss > 64 << 20 && near(stats.memory.rss, kernel('VmRSS') * 1024, 0.05), JSON.stringify(stats));
  assert.ok(near(stats.memory.vms, kernel('VmSize') * 1024, 0.05), JSON.stringify(stats));
  assert.ok(stats.memory.pss === null || (stats.memory.pss > 64 << 20 && stats.memory.pss <= stats.memory.rss * 1.05));
  assert.equal(stats.threads, kernel('Threads'));
  assert.equal(stats.fileDescriptors, fs.readdirSync(`/proc/${child.pid}/fd`).length);
  assert.ok(stats.cpu.totalTime >= 300 && stats.uptime >= 400, JSON.stringify(stats));
  assert.ok(near(stats.cpu.usage, (stats.cpu.totalTime / stats.uptime) * 100, 0.1), 'at first since it began');
  assert.equal(stats.memory.heapUsed, undefined, 'nobody else knows another’s heap');
  assert.ok(near(stats.timestamp, Date.now(), 0.01));
});

test('the CPU usage of a process is measured since the last call', async (t) => {
  const child = await working(t);
  const own = monitor(t);
  const [first] = [await own.getProcessStats(child.pid), await own.getSystemStats()];
  const second = await own.getProcessStats(child.pid);
  assert.ok(first.cpu.usage > second.cpu.usage, `${first.cpu.usage} and then it waits: ${second.cpu.usage}`);
});

test('the own process is reported with its heap', async (t) => {
  const { memory } = await monitor(t).getProcessStats(process.pid);
  assert.ok(memory.heapUsed > 0 && memory.heapTotal >= memory.heapUsed && memory.external > 0);
});

test('getSystemStats returns the system’s figures', async (t) => {
  const stats = await monitor(t).getSystemStats();
  assert.equal(stats.cpu.cores, os.cpus().length);
  assert.ok(stats.cpu.usage >= 0 && stats.cpu.usage <= 100);
  assert.equal(stats.cpu.loadAverage.length, 3);
  assert.ok(stats.memory.total > 0 && stats.memory.total <= os.totalmem());
  assert.equal(stats.memory.used, stats.memory.total - stats.memory.available);
  assert.ok(near(stats.memory.usagePercentage, (stats.memory.used / stats.memory.total) * 100, 0.001));
  assert.equal(stats.swap.used, stats.swap.total - stats.swap.free);
  assert.ok(near(stats.uptime, os.uptime() * 1000, 0.01));
  for (const { read, written } of [stats.disk, stats.network]) assert.ok(read >= 0 && written >= 0);
});

test('a missing process and an invalid pid are errors', async (t) => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  for (const [pid, said] of [
    [child.pid, /There is no process \d+/],
    [0, /whole number above 0/],
    [1.5, /whole number above 0/],
    ['1', /whole number above 0/],
    [undefined, /above 0, not undefined/],
  ]) {
    await assert.rejects(monitor(t).getProcessStats(pid), (error) => {
      assert.equal(error.code, 'INVALID_ARGUMENT');
      assert.match(error.message, said);
      assert.deepEqual(error.details, { pid });
      return true;
    });
  }
});

test('startMonitoring emits stats until it is stopped, and takes durations as the configuration does', async (t) => {
  const own = monitor(t);
  own.startMonitoring('10ms');
  // Alone it keeps nothing alive.
  const held = setInterval(() => {}, 1000);
  t.after(() => clearInterval(held));
  for (let times = 0; times < 2; times++) {
    const [stats] = await once(own, 'stats');
    assert.equal(stats.process.pid, process.pid);
    assert.ok(stats.system.memory.total > 0);
  }
  own.stopMonitoring();
  own.on('stats', () => assert.fail('it was stopped'));
  // A look that was under way has come to its end before this one.
  await own.getSystemStats();
  await own.getProcessStats(process.pid);
  assert.throws(() => own.startMonitoring('soon'), { code: 'INVALID_ARGUMENT' });
});

test('a running monitor does not keep its process alive', async () => {
  const text = `new (require(${JSON.stringify(require.resolve('..'))}).ProcessMonitor)().startMonitoring(5)`;
  const child = spawn(process.execPath, ['-e', text], { stdio: 'inherit' });
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});
