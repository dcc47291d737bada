'use strict';

// Which servers of several workers share a port: those that are one service. Who tries whether a port is free, and then
// takes it, has it alone, as FTP's passive mode does.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { freePort, tcp } = require('./helpers/http');
const { program } = require('./helpers/program');

/** Milliseconds: what a worker does in its first second belongs to its start, and nothing tells when that is over. */
const START = 1200;

/**
 * A cluster of two whose primary tells the workers what to open; `steps` is run once they have finished their start.
 * With ready 'message' a replacement need not serve what it is told to open later.
 */
async function cluster(t, steps, ready = 'listen') {
  const given = { port: await freePort(), other: await freePort(), ready };
  const text = `'use strict';
    const net = require('node:net');
    const { setTimeout: wait } = require('node:timers/promises');
    const given = ${JSON.stringify(given)};
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2, processManagement: { ready: given.ready } } } });
    const servers = [];
    const open = (port) => new Promise((resolve) => {
      const server = net.createServer((socket) => socket.end(app.workerId + '\\n'));
      server.once('error', ({ code }) => resolve(code));
      server.listen(port, '127.0.0.1', () => resolve(servers.push(server) && 'open'));
    });
    const shut = () => new Promise((resolve) => servers.pop().close(() => resolve('shut')));
    app.registerHandler('open', ({ data }) => open(data));
    app.registerHandler('shut', shut);
    app.registerHandler('try', async ({ data }) => {
      const found = await open(data);
      if (found !== 'open') return found;
      await shut();
      return open(data);
    });
    const ask = (worker, what, port) => app.sendToWorker(worker, what, port);
    app.start(given.port, '127.0.0.1').then(async () => {
      if (app.isWorker) return void (given.ready === 'message' && process.send('ready'));
      await wait(${START});
      await (${steps})(ask, given.other, wait, app);
    });`;
  return { run: program(t, text), port: given.other };
}

async function answers(port, visits) {
  const seen = new Set();
  for (let visit = 0; visit < visits; visit += 1) {
    const connection = await tcp(port);
    seen.add(await connection.line());
    connection.close();
  }
  return [...seen].sort();
}

test('a port that every worker opens long after its start is shared', async (t) => {
  const { run, port } = await cluster(t, async (ask, other) => {
    const opened = [await ask('0', 'open', other), await ask('1', 'open', other)];
    console.log(`OPENED ${opened}`);
  });
  await run.until(/OPENED open,open/);
  assert.deepEqual(await answers(port, 6), ['0', '1']);
});

test('a port that all workers open at the same moment is shared', async (t) => {
  const { run, port } = await cluster(t, async (ask, other) => {
    const opened = await Promise.all([ask('0', 'open', other), ask('1', 'open', other)]);
    console.log(`OPENED ${opened}`);
  });
  await run.until(/OPENED open,open/);
  assert.deepEqual(await answers(port, 6), ['0', '1']);
});

test('a port that a worker probed and opened is its own', async (t) => {
  const { run, port } = await cluster(t, async (ask, other) => {
    console.log(`FIRST ${await ask('0', 'try', other)} ${await ask('1', 'open', other)} ${await ask('1', 'try', other)}`);
  });
  await run.until(/FIRST open EADDRINUSE EADDRINUSE/);
  assert.deepEqual(await answers(port, 6), ['0']);
});

test('if two workers probe a port at the same moment at most one gets it', async (t) => {
  const { run, port } = await cluster(t, async (ask, other) => {
    const got = await Promise.all([ask('0', 'try', other), ask('1', 'try', other)]);
    console.log(`GOT ${got.filter((one) => one === 'open').length} ${got.filter((one) => one === 'EADDRINUSE').length}`);
  });
  const [, open, refused] = await run.until(/GOT (\d) (\d)/);
  assert.equal(Number(open) + Number(refused), 2);
  assert.ok(Number(open) <= 1, run.stdout);
  if (open === '1') assert.equal((await answers(port, 6)).length, 1);
});

test('workers that have all closed a port may all open it again, and a roll changes nothing', async (t) => {
  const { run, port } = await cluster(t, async (ask, other, wait, app) => {
    const both = async (what) => [await ask('0', what, other), await ask('1', what, other)];
    console.log(`FIRST ${await both('open')}`);
    // A server that was open for less has only tried the port.
    await wait(200);
    console.log(`AGAIN ${await both('shut')} ${await both('open')}`);
    await wait(200);
    // One closes and comes back while the other serves on.
    console.log(`ONE ${await ask('0', 'shut', other)} ${await ask('0', 'open', other)}`);
    await app.restartCluster();
    console.log(`ROLLED ${await both('open')}`);
  }, 'message');
  await run.until(/FIRST open,open/);
  await run.until(/AGAIN shut,shut open,open/);
  await run.until(/ONE shut open/);
  await run.until(/ROLLED open,open/);
  assert.deepEqual(await answers(port, 6), ['0', '1']);
});

/**
 * As FTP's passive mode: who says a number on the control connection is answered with a port, 0 of the kernel's choice,
 * where one client gets data. At SIGTERM it waits for those that it has named a port to.
 */
function passive({ port, workers = 2 }) {
  const net = require('node:net');
  if (!process.env.CLUSTER_WORKER) {
    const { ClusterManager } = require('drover');
    return void new ClusterManager({ workers, monitoring: { port: false } }).start().then(() => console.log('ALL READY'));
  }
  const open = new Set();
  const control = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (wanted) => {
      const data = net.createServer((client) => {
        client.end(`${process.pid}\n`);
        data.close();
      });
      open.add(data);
      data.once('close', () => {
        open.delete(data);
        socket.write('done\n');
      });
      data.listen(Number(wanted), '127.0.0.1', () => socket.write(`${data.address().port} ${process.pid}\n`));
    });
  });
  control.listen(port, '127.0.0.1');
  process.once('SIGTERM', () => {
    console.log(`${process.pid} IS TO END`);
    const end = () => open.size === 0 && process.exit(0);
    for (const data of open) data.once('close', () => setImmediate(end));
    end();
  });
}

for (const [what, wanted] of [
  ['of the kernel’s choice', () => 0],
  ['that it named', freePort],
]) {
  test(`a port ${what} that a worker opened after its start is served while the worker drains`, async (t) => {
    const port = await freePort();
    const run = program(t, passive, { given: { port } });
    await run.until(/ALL READY/);
    // What a worker does in its first second belongs to its start.
    await wait(START);
    const control = await tcp(port);
    control.write(String(await wanted()));
    const [data, pid] = (await control.line()).split(' ').map(Number);
    run.signal('SIGUSR2');
    await run.until(new RegExp(`${pid} IS TO END`));
    const client = await tcp(data);
    assert.equal(await client.line(), String(pid));
    assert.equal(await control.line(), 'done');
    await run.event('worker:exit', { workerPid: pid, reason: 'stopped', exitCode: 0 });
    await run.event('command:done', { command: 'restartCluster' });
    await assert.rejects(tcp(data), /ECONNREFUSED/);
    assert.deepEqual(run.events('alert'), []);
  });
}

/** Opens a port of the kernel's choice in a worker and begins a roll; resolves to it and the worker that leaves. */
async function whileLeaving(run, port) {
  await run.until(/ALL READY/);
  await wait(START);
  const control = await tcp(port);
  control.write('0');
  const [data, pid] = (await control.line()).split(' ').map(Number);
  run.signal('SIGUSR2');
  await run.until(new RegExp(`${pid} IS TO END`));
  return { data, pid };
}

test('a worker’s own port that is still open at its exit closes with it', async (t) => {
  const port = await freePort();
  const run = program(t, passive, { given: { port } });
  const { data, pid } = await whileLeaving(run, port);
  process.kill(pid, 'SIGKILL');
  await run.event('command:done', { command: 'restartCluster' });
  await assert.rejects(tcp(data), /ECONNREFUSED/);
  assert.deepEqual(run.events('alert'), []);
});

test('a worker’s own port that another worker opens meanwhile belongs to that worker when the first has exited', async (t) => {
  const port = await freePort();
  const run = program(t, passive, { given: { port, workers: 1 } });
  const { data, pid } = await whileLeaving(run, port);
  const other = await tcp(port);
  // The first port of the kernel's choice that a worker opens is that of any other.
  other.write('0');
  const [again, successor] = (await other.line()).split(' ').map(Number);
  assert.equal(again, data);
  process.kill(pid, 'SIGKILL');
  await run.event('command:done', { command: 'restartCluster' });
  const client = await tcp(data);
  assert.equal(await client.line(), String(successor));
  assert.equal(await other.line(), 'done');
  await assert.rejects(tcp(data), /ECONNREFUSED/);
});
