'use strict';

// Rolling restarts and scaling with real workers: new ones first, nothing lost, and a bad version never serves.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program, write } = require('./helpers/program');
const { run } = require('./helpers/run');

/** Takes orders: by request (/do?verb=&argument=) in a worker, from a file at SIGWINCH in the primary. */
function commanded({ port, config, version }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer(async (asked, response) => {
      const { pathname, searchParams } = new URL(asked.url, 'http://localhost');
      if (pathname === '/do') {
        const argument = searchParams.has('argument') ? JSON.parse(searchParams.get('argument')) : undefined;
        const said = await app[searchParams.get('verb')](argument).then(
          () => 'done',
          ({ name, code }) => `${name} ${code}`,
        );
        response.end(said);
        return;
      }
      response.end(JSON.stringify({ pid: process.pid, id: process.env.WORKER_ID, version }));
    }),
    cluster: { enabled: true, config: { workers: 2, ...config } },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', async () => {
      const verbs = JSON.parse(require('node:fs').readFileSync(`${__filename}.orders`, 'utf8'));
      const told = (verb) => (error) =>
        console.log(`${verb}: ${error ? `${error.name} ${error.code} ${error.message}` : 'done'}`);
      const all = verbs.map(([verb, argument]) => app[verb](argument).then(() => told(verb)(), told(verb)));
      await Promise.all(all);
      console.log(`SETTLED ${app.getAllWorkers().map(({ id, generation }) => `${id}.${generation}`).join(' ')}`);
    });
    console.log('the cluster is ready');
  });
}

async function serving(t, config = {}) {
  const port = await freePort();
  const given = { port, config, version: 1 };
  const file = write(t, commanded, { given });
  const cluster = run(t, file, {});
  await cluster.until(/the cluster is ready/);
  return {
    cluster,
    port,
    file,
    /** Orders of the primary's program, at once; resolves to [what it printed, workers as 'id.generation'] */
    async order(...verbs) {
      fs.writeFileSync(`${file}.orders`, JSON.stringify(verbs));
      const before = cluster.stdout.length;
      cluster.signal('SIGWINCH');
      await cluster.until(new RegExp(`^[^]{${before}}[^]*SETTLED`), 120_000);
      const printed = cluster.stdout.slice(before);
      return [printed, printed.match(/SETTLED (.*)/)[1]];
    },
    /** The program becomes another one. */
    become(main, given = { port, config, version: 2 }) {
      fs.writeFileSync(file, typeof main === 'string' ? main : `'use strict';\n(${main})(${JSON.stringify(given)});\n`);
    },
  };
}

/** Requests on connections of their own until `stop`; resolves to who answered. */
function load(port) {
  let going = true;
  const seen = new Set();
  const one = async () => {
    while (going) {
      const { status, body } = await request(port);
      assert.equal(status, 200);
      seen.add(JSON.parse(body).pid);
    }
  };
  const all = Promise.all(Array.from({ length: 4 }, one));
  all.catch(() => {});
  return {
    async stop() {
      going = false;
      await all;
      return seen;
    },
  };
}

const versions = async (port) => {
  const seen = new Set();
  for (let count = 0; count < 8; count += 1) seen.add((await request(port)).json().version);
  return [...seen];
};

test('restartCluster replaces every worker, new ones first, and no new connection fails', async (t) => {
  const { cluster, port, order, become } = await serving(t);
  const before = cluster.others();
  become(commanded);
  const clients = load(port);
  for (const generation of [2, 3, 4]) {
    const [printed, workers] = await order(['restartCluster']);
    assert.match(printed, /restartCluster: done/);
    assert.equal(workers, `0.${generation} 1.${generation}`);
  }
  assert.ok((await clients.stop()).size > 2);
  assert.deepEqual(await versions(port), [2]);
  const now = cluster.others();
  assert.equal(now.length, 2);
  assert.ok(!now.some((pid) => before.includes(pid)));
});

for (const signal of ['SIGUSR2', 'SIGHUP']) {
  test(`${signal} is a rolling restart`, async (t) => {
    const { cluster, port, become } = await serving(t);
    become(commanded);
    cluster.signal(signal);
    await cluster.event('command:done', { command: 'restartCluster' });
    assert.deepEqual(await versions(port), [2]);
  });
}

for (const [what, main, reason] of [
  ['throws', "throw new TypeError('a bad deploy');", /TypeError: a bad deploy|a bad deploy/],
  ['exits', "console.error('no DATABASE_URL'); process.exit(7);", /exit code 7.*no DATABASE_URL/s],
  ['cannot be parsed', 'const = 1;', /Unexpected token|Expected identifier but found/],
  ['is never ready', "console.log('waits'); setInterval(() => {}, 1000);", /not ready after 10 s.*waits/s],
]) {
  test(`a new version that ${what} ends the roll with WorkerStartupError, and the old workers continue to serve`, async (t) => {
    const config = what === 'is never ready' ? { processManagement: { startupTimeout: 10_000 } } : {};
    const { cluster, port, order, become } = await serving(t, config);
    const before = cluster.others();
    become(main);
    const clients = load(port);
    const [printed, workers] = await order(['restartCluster']);
    assert.match(printed, /restartCluster: WorkerStartupError WORKER_STARTUP_FAILED/);
    assert.match(printed, reason);
    assert.equal(workers, '0.1 1.1');
    await clients.stop();
    assert.deepEqual(cluster.others(), before);
    assert.deepEqual(await versions(port), [1]);
    // A good one afterwards is taken.
    become(commanded);
    assert.match((await order(['restartCluster']))[0], /restartCluster: done/);
    assert.deepEqual(await versions(port), [2]);
  });
}

test('restartWorker replaces one worker, and an id that nobody has is an error', async (t) => {
  const { order } = await serving(t);
  assert.equal((await order(['restartWorker', '1']))[1], '0.1 1.2');
  assert.equal((await order(['restartWorker', 0]))[1], '0.2 1.2');
  assert.match((await order(['restartWorker', '9']))[0], /ClusterError NO_SUCH_WORKER/);
  assert.match((await order(['restartWorker', 'x']))[0], /ClusterError INVALID_ARGUMENT .*found "x"/);
});

test('scaling up and down under load loses no connection; ids are the lowest that are free', async (t) => {
  const { cluster, port, order } = await serving(t);
  const clients = load(port);
  assert.equal((await order(['scaleUp', 2]))[1], '0.1 1.1 2.1 3.1');
  assert.equal((await order(['scaleDown']))[1], '0.1 1.1 2.1');
  assert.equal((await order(['scale', 1]))[1], '0.1');
  assert.equal((await order(['scale', 3]))[1], '0.1 1.2 2.2');
  await clients.stop();
  assert.equal(cluster.others().length, 3);
  assert.match((await order(['scale', 0]))[0], /INVALID_ARGUMENT/);
  await order(['scale', 1]);
  assert.match((await order(['scaleDown']))[0], /ResourceExhaustionError RESOURCE_EXHAUSTED/);
});

test('concurrent commands are executed in their order', async (t) => {
  const { port, order } = await serving(t);
  const clients = load(port);
  const [printed, workers] = await order(['scaleUp', 2], ['restartCluster'], ['scale', 2], ['scaleUp', 1]);
  assert.deepEqual(
    [...printed.matchAll(/^(\w+): done/gm)].map(([, verb]) => verb),
    ['scaleUp', 'restartCluster', 'scale', 'scaleUp'],
  );
  assert.equal(workers, '0.2 1.2 2.3');
  await clients.stop();
});

test('a worker may send commands too', async (t) => {
  const { cluster, port } = await serving(t);
  const ask = async (verb, argument) =>
    (await request(port, { path: `/do?verb=${verb}&argument=${encodeURIComponent(JSON.stringify(argument))}` })).body;
  assert.equal(await ask('scale', 4), 'done');
  assert.equal(cluster.others().length, 4);
  assert.equal(await ask('scale', 'many'), 'ClusterError INVALID_ARGUMENT');
  assert.equal(await ask('restartWorker', '9'), 'ClusterError NO_SUCH_WORKER');
});

test('a stop during a roll leaves no process', async (t) => {
  const { cluster, file } = await serving(t);
  fs.writeFileSync(`${file}.orders`, JSON.stringify([['restartCluster']]));
  cluster.signal('SIGWINCH');
  await cluster.event('worker:draining');
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone();
});

test('a worker that dies during a roll is replaced, and the roll ends', async (t) => {
  const { cluster, port, order, become } = await serving(t);
  become(commanded);
  const [, victim] = cluster.others();
  const rolled = order(['restartCluster']);
  process.kill(victim, 'SIGKILL');
  assert.match((await rolled)[0], /restartCluster: done/);
  await cluster.eventMany(2, 'worker:ready', { worker: '1' });
  assert.deepEqual(await versions(port), [2]);
});

test('a worker that is not ready yet gets no connection, though its server listens', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      const { createServer } = require('drover');
      let ready = false;
      const config = { workers: 1, loadBalancing: { dispatch: 'direct' }, processManagement: { ready: 'message' } };
      const app = createServer({
        app: http.createServer((_, response) => response.end(`${ready}`)),
        cluster: { enabled: true, config },
      });
      app.start(port, '127.0.0.1').then(() => {
        if (app.isWorker) {
          setTimeout(() => {
            ready = true;
            process.send('ready');
          }, 300);
          return;
        }
        process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
        console.log('the cluster is ready');
      });
    },
    { given: { port } },
  );
  await cluster.until(/the cluster is ready/);
  cluster.signal('SIGWINCH');
  let rolled = false;
  const done = cluster.until(/ROLLED/).then(() => (rolled = true));
  while (!rolled) assert.equal((await request(port)).body, 'true');
  await done;
});

test('a standby worker serves at once when a worker dies, and another one is started', async (t) => {
  const { cluster, port } = await serving(t, { processManagement: { standbyWorkers: 1 } });
  await cluster.event('worker:ready', { worker: '2' });
  const { pid } = (await request(port)).json();
  process.kill(pid, 'SIGKILL');
  // The slot of the dead one is filled with a new spare: none but that which stood by can answer as '2'.
  while ((await request(port)).json().id !== '2');
  await cluster.eventMany(4, 'worker:ready');
  assert.equal(cluster.others().length, 3);
});

function spawning({ port }) {
  const http = require('node:http');
  const { ClusterManager } = require('drover');
  if (process.env.CLUSTER_WORKER) {
    http.createServer((_, response) => response.end('ok')).listen(port, '127.0.0.1');
    return;
  }
  const manager = new ClusterManager({ workers: 1 });
  manager.start().then(async () => {
    const named = await manager.spawnWorker('5');
    const taken = await manager.spawnWorker('5').catch((error) => error.code);
    const { id } = await manager.spawnWorker();
    console.log(`SPAWNED ${named.id} ${named.detail} ${taken} ${id}`);
  });
}

test('spawnWorker gives the worker the slot that is asked for, if it is vacant', async (t) => {
  const running = program(t, spawning, { given: { port: await freePort() } });
  const [, named, detail, taken, next] = await running.until(/SPAWNED (\S+) (\S+) (\S+) (\S+)/);
  assert.deepEqual({ named, detail, taken, next }, { named: '5', detail: 'ready', taken: 'INVALID_ARGUMENT', next: '1' });
});
