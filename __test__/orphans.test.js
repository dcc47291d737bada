'use strict';

// The primary ends, in whatever way: no worker outlives it for long, what can be finished is, and the port is
// free for its successor at once.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, keepAlive, request } = require('./helpers/http');
const { failureCluster, folder, program } = require('./helpers/program');

/** The promise is two seconds from the kill; the rest is for a busy machine. */
const SOON = 4000;

/** A request whose answer has begun: `whole` resolves to the status when it has ended in order. */
async function begun(port, path) {
  const outgoing = http.get({ port, host: '127.0.0.1', path, agent: false });
  const [response] = await once(outgoing, 'response');
  const whole = new Promise((resolve, reject) => {
    response.once('error', reject);
    response.once('end', () => resolve(response.statusCode));
  });
  whole.catch(() => {});
  response.resume();
  return { whole };
}

/** A request that the kernel has a connection for, whether or not anybody serves it yet. */
async function connected(port) {
  const outgoing = http.get({ port, host: '127.0.0.1', agent: false });
  const status = once(outgoing, 'response').then(([response]) => response.resume().statusCode);
  const [socket] = await once(outgoing, 'socket');
  await once(socket, 'connect');
  return { status };
}

async function serving(t, { config, port } = {}) {
  const at = port ?? (await freePort());
  const cluster = failureCluster(t, { port: at, config });
  await cluster.until(/the cluster is ready/);
  return { cluster, port: at };
}

/** A cluster whose primary has a port of its own, where a request ends it in the way that `end` names. */
async function ending(t, end) {
  const [port, control] = [await freePort(), await freePort()];
  const cluster = program(
    t,
    ({ port, control, end }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const app = createServer({ cluster: { enabled: true, config: { workers: 2 } } });
      app.get('/slow', (_, response) => {
        response.write('begun');
        setTimeout(() => response.end(), 3000);
      });
      app.get('/spin', (_, response) => {
        response.end();
        setImmediate(() => {
          for (;;);
        });
      });
      app.start(port, '127.0.0.1').then(() => {
        if (app.isWorker) return;
        const ends = {
          'an uncaught exception': () => {
            throw new Error('a bug in the primary');
          },
          'process.exit()': () => process.exit(3),
        };
        http.createServer(ends[end]).listen(control, '127.0.0.1', () => console.log('the cluster is ready'));
      });
    },
    { given: { port, control, end } },
  );
  await cluster.until(/the cluster is ready/);
  const finish = () => request(control).catch(({ code }) => assert.equal(code, 'ECONNRESET'));
  return { cluster, port, finish };
}

test('workers end within two seconds of a killed primary, also in a busy loop or a request', async (t) => {
  const { cluster, port } = await serving(t, { config: { workers: 3 } });
  const spinning = (await request(port, { path: '/spin' })).json().pid;
  const { whole } = await begun(port, '/slow?ms=60000');
  const workers = cluster.others();
  assert.equal(workers.length, 3);
  assert.ok(workers.includes(spinning));
  cluster.signal('SIGKILL');
  await cluster.exit;
  await assert.rejects(whole, { code: 'ECONNRESET' });
  await cluster.gone(SOON);
});

test('a short request that is pending when the primary is killed is still answered', async (t) => {
  const { cluster, port } = await serving(t);
  const { whole } = await begun(port, '/slow?ms=300');
  cluster.signal('SIGKILL');
  assert.equal(await whole, 200);
  await cluster.gone(SOON);
});

test('a worker that learns of its primary’s death from a failed request drains too', async (t) => {
  const port = await freePort();
  const place = folder(t);
  const watcher = fs.watch(place);
  t.after(() => watcher.close());
  const asked = once(watcher, 'change');
  const cluster = program(
    t,
    ({ port, asks }) => {
      const fs = require('node:fs');
      const http = require('node:http');
      const { createServer } = require('drover');
      const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.get('/listen', (_, response) => {
        const primary = process.ppid;
        response.end();
        setImmediate(() => {
          // It is stopped, so that the answer does not come.
          while (!/\) T /.test(fs.readFileSync(`/proc/${primary}/stat`, 'latin1')));
          fs.writeFileSync(asks, '');
          const late = http.createServer().listen(0, '127.0.0.1');
          late.once('error', ({ code }) => process.once('exit', () => console.log(`LEFT after ${code}`)));
        });
      });
      app.start(port, '127.0.0.1').then(() => app.isWorker || console.log('the cluster is ready'));
    },
    { given: { port, asks: path.join(place, 'asks') } },
  );
  await cluster.until(/the cluster is ready/);
  await request(port, { path: '/listen' });
  cluster.signal('SIGSTOP');
  await asked;
  cluster.signal('SIGKILL');
  await cluster.until(/LEFT after E[A-Z]+/);
  await cluster.gone(SOON);
});

test('a new primary starts on the port of one that was killed a moment ago', async (t) => {
  const port = await freePort();
  for (let life = 1; life <= 3; life += 1) {
    const { cluster } = await serving(t, { port });
    const workers = cluster.others();
    // The one that is in a loop holds the listener until the kernel ends it.
    await request(port, { path: '/spin' });
    cluster.signal('SIGKILL');
    const next = failureCluster(t, { port });
    await next.until(/the cluster is ready/);
    const { pid } = (await request(port)).json();
    assert.ok(next.others().includes(pid) && !workers.includes(pid));
    await next.stop();
    await cluster.gone();
  }
});

for (const [end, code] of [
  ['an uncaught exception', 1],
  ['process.exit()', 3],
]) {
  test(`after ${end} in the primary its workers finish their requests and exit`, async (t) => {
    const { cluster, port, finish } = await ending(t, end);
    const slow = [await begun(port, '/slow'), await begun(port, '/slow')];
    await finish();
    assert.deepEqual(await cluster.exit, { code, signal: null });
    assert.deepEqual(await Promise.all(slow.map(({ whole }) => whole)), [200, 200]);
    await cluster.gone(SOON);
  });

  test(`after ${end} in the primary the port is free while its workers finish`, async (t) => {
    const { cluster, port, finish } = await ending(t, end);
    const { whole } = await begun(port, '/slow');
    await finish();
    await cluster.exit;
    const { cluster: next } = await serving(t, { port });
    assert.ok(next.others().includes((await request(port)).json().pid));
    assert.equal(await whole, 200);
    await cluster.gone(SOON);
  });

  test(`after ${end} in the primary a worker in a busy loop ends too`, async (t) => {
    const { cluster, port, finish } = await ending(t, end);
    await request(port, { path: '/spin' });
    await finish();
    await cluster.exit;
    await cluster.gone(SOON);
  });
}

test('a worker that is blocked at the primary’s shutdown notice finishes its request afterwards', async (t) => {
  const [port, control] = [await freePort(), await freePort()];
  const cluster = program(
    t,
    ({ port, control }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.get('/', (_, response) => {
        response.write('begun');
        // Long enough for the primary to be gone before the goodbye is read.
        setTimeout(() => {
          const until = Date.now() + 700;
          while (Date.now() < until);
        }, 50);
        setTimeout(() => response.end(), 3000);
      });
      app.start(port, '127.0.0.1').then(() => {
        if (app.isWorker) return;
        const goOn = () => setTimeout(() => process.exit(3), 200);
        http.createServer(goOn).listen(control, '127.0.0.1', () => console.log('the cluster is ready'));
      });
    },
    { given: { port, control } },
  );
  await cluster.until(/the cluster is ready/);
  const { whole } = await begun(port, '/');
  await request(control).catch(({ code }) => assert.equal(code, 'ECONNRESET'));
  assert.equal((await cluster.exit).code, 3);
  assert.equal(await whole, 200);
  await cluster.gone(SOON);
});

test('while the primary is suspended its workers serve their connections and those that they accept directly', async (t) => {
  const { cluster, port } = await serving(t, { config: { loadBalancing: { dispatch: 'direct', healthAware: false } } });
  const kept = keepAlive(port);
  t.after(() => kept.close());
  const { pid } = (await kept.request()).json();
  await cluster.freeze();
  t.after(() => cluster.signal('SIGCONT'));
  assert.equal((await kept.request()).json().pid, pid);
  const pids = new Set();
  for (let visit = 0; visit < 20; visit += 1) pids.add((await request(port)).json().pid);
  assert.deepEqual([...pids].sort(), cluster.others().sort());
  cluster.signal('SIGCONT');
  assert.equal((await kept.request()).json().pid, pid);
  assert.equal((await cluster.stop()).code, 0);
});

test('in push mode new connections wait for a suspended primary, and none is lost', async (t) => {
  const { cluster, port } = await serving(t, { config: { loadBalancing: { dispatch: 'push' } } });
  const kept = keepAlive(port);
  t.after(() => kept.close());
  const { pid } = (await kept.request()).json();
  await cluster.freeze();
  t.after(() => cluster.signal('SIGCONT'));
  const waiting = await Promise.all(Array.from({ length: 20 }, () => connected(port)));
  assert.equal((await kept.request()).json().pid, pid);
  cluster.signal('SIGCONT');
  const statuses = await Promise.all(waiting.map(({ status }) => status));
  assert.deepEqual([...new Set(statuses)], [200]);
});

test('draining workers of a killed primary end soon, and short requests are still answered', async (t) => {
  const { cluster, port } = await serving(t);
  const soon = await begun(port, '/slow?ms=800');
  const late = await begun(port, '/slow?ms=20000');
  cluster.signal('SIGTERM');
  await cluster.event('worker:draining');
  cluster.signal('SIGKILL');
  assert.equal(await soon.whole, 200);
  await assert.rejects(late.whole);
  await cluster.gone(SOON);
});

test('if a primary is suspended during a drain its workers end on their own, and it exits normally when it continues', async (t) => {
  const { cluster, port } = await serving(t);
  const one = await begun(port, '/slow?ms=1000');
  cluster.signal('SIGTERM');
  await cluster.event('worker:draining');
  await cluster.freeze();
  assert.equal(await one.whole, 200);
  cluster.signal('SIGCONT');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
  await cluster.gone();
});

test('a cluster stopped during a roll answers pending requests and leaves no process behind', async (t) => {
  const { cluster, port } = await serving(t);
  const one = await begun(port, '/slow?ms=1500');
  cluster.signal('SIGUSR2');
  await cluster.event('worker:draining');
  cluster.signal('SIGTERM');
  assert.equal(await one.whole, 200);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
  await cluster.gone();
});
