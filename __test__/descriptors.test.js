'use strict';

// What a worker has of drover's stays its own: no child inherits a channel, a variable or a preload, no secret
// is where another process could read it, and a process that is no worker is left as it was.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { failureCluster, program, write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');

/** Where a process's descriptors lead. */
function descriptors(pid) {
  const folder = `/proc/${pid}/fd`;
  return fs.readdirSync(folder).map((fd) => [Number(fd), fs.readlinkSync(path.join(folder, fd))]);
}

const environment = (pid) => fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);

/** What drover's descriptors are: channels, listeners, shared memory. */
const OWN = /^(socket|\/memfd)/;

/** A cluster of one whose worker tells `CHILD <pid>` of a process that it made in the way that `how` names. */
async function withChild(t, how, options = {}) {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port, how }) => {
      if (process.argv[2] === 'child') {
        console.log(`CHILD ${process.pid} ${JSON.stringify({ execArgv: process.execArgv, env: process.env })}`);
        setInterval(() => {}, 1000);
        return;
      }
      const { fork, spawn } = require('node:child_process');
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.start(port, '127.0.0.1').then(() => {
        if (app.isPrimary) return;
        const ways = {
          fork: () => fork(__filename, ['child']),
          spawn: () => spawn(process.execPath, [__filename, 'child'], { stdio: 'inherit' }),
          'spawn with extra pipes': () =>
            spawn(process.execPath, [__filename, 'child'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'] }),
        };
        ways[how]();
      });
    },
    { given: { port, how }, ...options },
  );
  const [, pid, told] = await cluster.until(/CHILD (\d+) (.*)/);
  const worker = cluster.others().find((other) => other !== Number(pid));
  return { cluster, worker, child: Number(pid), ...JSON.parse(told) };
}

for (const [how, extra] of [
  ['fork', 1],
  ['spawn', 0],
  ['spawn with extra pipes', 2],
]) {
  test(`a child that a worker makes with ${how} inherits no descriptors, variables or arguments of drover`, async (t) => {
    const { worker, child, env, execArgv } = await withChild(t, how, { execArgv: ['--stack-size=900'] });
    const own = new Set(descriptors(worker).map(([, target]) => target));
    const shared = descriptors(child).filter(
      ([fd, target]) => fd > 2 && own.has(target) && OWN.test(target),
    );
    assert.deepEqual(shared, []);
    const sockets = descriptors(child).filter(([fd, target]) => fd > 2 && target.startsWith('socket:'));
    assert.ok(sockets.length <= extra, JSON.stringify(sockets));
    assert.deepEqual(Object.keys(env).filter((name) => name.startsWith('DROVER_')), []);
    assert.deepEqual(execArgv, how === 'fork' ? ['--stack-size=900'] : []);
    // The worker's variables are inherited, and make nobody a worker.
    assert.equal(env.CLUSTER_WORKER, 'true');
  });
}

test('a preload of the user’s runs after drover’s: what it starts inherits nothing either', async (t) => {
  const preload = write(
    t,
    () => {
      if (process.env.CLUSTER_WORKER !== 'true' || process.env.PRELOADED) return;
      const { spawn } = require('node:child_process');
      spawn('sleep', ['1000'], { stdio: 'ignore', env: { ...process.env, PRELOADED: '1' } });
    },
    { name: 'preload.js' },
  );
  const port = await freePort();
  const cluster = failureCluster(t, { port, config: { workers: 1 }, execArgv: ['--require', preload] });
  await cluster.until(/the cluster is ready/);
  const sleeper = cluster.others().find((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep'));
  assert.ok(sleeper, 'the preload ran in the worker');
  const [own] = cluster.others().filter((pid) => pid !== sleeper);
  assert.ok(descriptors(own).filter(([, target]) => OWN.test(target)).length >= 3);
  assert.deepEqual(
    descriptors(sleeper).filter(([, target]) => OWN.test(target)),
    [],
  );
  assert.deepEqual(
    environment(sleeper).filter((line) => line.startsWith('DROVER_')),
    [],
  );
});

test('no secret of drover’s is in the environment or the arguments of a worker', async (t) => {
  const port = await freePort();
  const secret = 'correct-horse-battery-staple';
  const env = { IPC_ENCRYPTION_KEY: secret, CLUSTER_MONITORING_TOKEN: secret, OTHER: 'inherited' };
  const cluster = failureCluster(t, { port, env });
  await cluster.until(/the cluster is ready/);
  const workers = cluster.others();
  assert.equal(workers.length, 2);
  for (const pid of workers) {
    const variables = environment(pid);
    assert.ok(variables.includes('OTHER=inherited'));
    assert.ok(!variables.some((line) => line.includes(secret)));
    assert.ok(!fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(secret));
  }
  assert.ok(!cluster.output.includes(secret));
});

test('a worker has its own variables, an empty stdin, a process group and a title of its own', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const config = { workers: 2, loadBalancing: { healthAware: false } };
      const app = require('drover').createServer({ cluster: { enabled: true, config } });
      app.get('/', async (_, response) => {
        let stdin = '';
        for await (const piece of process.stdin) stdin += piece;
        const { CLUSTER_WORKER, WORKER_ID, NODE_APP_INSTANCE, NODE_ENV } = process.env;
        const variables = { CLUSTER_WORKER, WORKER_ID, NODE_APP_INSTANCE, NODE_ENV };
        const left = Object.keys(process.env).filter((name) => name.startsWith('DROVER_'));
        response.json({ variables, left, stdin, title: process.title, pid: process.pid, argv: process.argv.slice(2) });
      });
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port }, args: ['--colour', 'red'], name: 'a.js' },
  );
  await cluster.until(/the cluster is ready/);
  const told = [(await request(port)).json(), (await request(port)).json()];
  told.sort((a, b) => a.variables.WORKER_ID - b.variables.WORKER_ID);
  for (const [slot, { variables, left, stdin, title, pid, argv }] of told.entries()) {
    const id = String(slot);
    assert.deepEqual(variables, {
      CLUSTER_WORKER: 'true',
      WORKER_ID: id,
      NODE_APP_INSTANCE: id,
      NODE_ENV: 'production',
    });
    assert.deepEqual([left, stdin, argv], [[], '', ['--colour', 'red']]);
    assert.match(title, new RegExp(`^drover: worker ${id} \\(a\\.js\\)`));
    if (isBun) assert.equal(fs.readFileSync(`/proc/${pid}/comm`, 'utf8'), `drover:${id}\n`);
    else assert.ok(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`drover: worker ${id}`));
    const [, group] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').match(/\) \w \d+ (\d+)/);
    assert.equal(Number(group), pid);
  }
});

test('inspectors of the workers move on from the primary’s port', async (t) => {
  const [port, inspector] = [await freePort(), 20_000 + Math.floor(Math.random() * 10_000)];
  const cluster = failureCluster(t, { port, execArgv: [`--inspect=127.0.0.1:${inspector}`] });
  await cluster.until(/the cluster is ready/);
  const told = await cluster.untilMany(3, isBun ? /Listening:\s+ws:\/\/127\.0\.0\.1:(\d+)/ : /Debugger listening on ws:\/\/127\.0\.0\.1:(\d+)/);
  const ports = told.map(([, at]) => at);
  assert.deepEqual(ports.map(Number).sort(), [inspector, inspector + 1, inspector + 2], cluster.stderr);
});

test('drover does not keep a worker alive whose script has nothing left to do', async (t) => {
  const exec = write(t, () => process.on('exit', (code) => console.log(`ENDS ${code}`)), { name: 'worker.js' });
  const cluster = program(
    t,
    ({ exec }) => {
      const { ClusterManager } = require('drover');
      new ClusterManager({ workers: 1, exec, processManagement: { maxRestarts: 0 } }).start().catch(() => {});
    },
    { given: { exec } },
  );
  await cluster.until(/ENDS 0/);
  assert.equal((await cluster.exit).code, 1);
});

/** Everything of a process that `load` might change stays as it was. Runs in the program under test. */
function keptBy(load) {
  const assert = require('node:assert');
  const fs = require('node:fs');
  const prototypes = [
    require('node:net').Server,
    require('node:net').Socket,
    require('node:dgram').Socket,
    require('node:http').Server,
    require('node:http').ServerResponse,
  ].map(({ prototype }) => prototype);
  const look = () => ({
    listeners: process.eventNames().map((name) => [name, process.rawListeners(name)]),
    prototypes: prototypes.map(Object.getOwnPropertyDescriptors),
    process: { title: process.title, send: process.send, exitCode: process.exitCode, env: { ...process.env } },
    // Bun starts threads of its own at any time.
    threads: fs
      .readdirSync('/proc/self/task')
      .map((thread) => fs.readFileSync(`/proc/self/task/${thread}/comm`, 'latin1'))
      .filter((name) => !process.versions.bun || name.startsWith('drover')).length,
  });
  const before = look();
  load();
  assert.deepStrictEqual(look(), before);
}

const loads = {
  'a process': ({ keptBy }) => {
    keptBy(() => require('drover').createServer());
    console.log('INERT');
  },
  'a worker_thread': ({ keptBy }) => {
    const { Worker, isMainThread } = require('node:worker_threads');
    if (isMainThread) {
      new Worker(__filename);
      return;
    }
    let app;
    keptBy(() => {
      app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    });
    app.get('/', (_, response) => response.send('served'));
    app.start(0, '127.0.0.1').then(async () => {
      const answer = await fetch(`http://127.0.0.1:${app.address().port}`);
      if ((await answer.text()) === 'served') console.log('INERT');
      process.exit(0);
    });
  },
  'a vm context': ({ keptBy }) => {
    const vm = require('node:vm');
    keptBy(() => vm.runInNewContext("require('drover').createServer()", { require }));
    console.log('INERT');
  },
  'a module registry that is thrown away, as jest’s': ({ keptBy }) => {
    keptBy(() => {
      for (let round = 0; round < 3; round += 1) {
        for (const file of Object.keys(require.cache)) delete require.cache[file];
        require('drover').createServer();
      }
    });
    console.log('INERT');
  },
};

for (const [place, main] of Object.entries(loads)) {
  test(`loaded in ${place} drover is inert`, async (t) => {
    const script = write(t, `'use strict';\n(${main})({ keptBy: ${keptBy} });\n`);
    const loaded = run(t, script, { env: { CLUSTER_WORKER: 'true', WORKER_ID: '3' } });
    await loaded.until(/INERT/);
    assert.deepEqual(await loaded.exit, { code: 0, signal: null }, loaded.output);
    assert.deepEqual(loaded.others(), []);
  });
}

test('a worker_thread of a worker listens on its own, outside the cluster', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const { Worker, isMainThread } = require('node:worker_threads');
      const http = require('node:http');
      if (!isMainThread) {
        const server = http.createServer((_, response) => response.end('from the thread'));
        server.listen(0, '127.0.0.1', () => console.log(`THREAD ${server.address().port}`));
        return;
      }
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.get('/', (_, response) => response.send('from the worker'));
      app.start(port, '127.0.0.1').then(() => app.isWorker && new Worker(__filename));
    },
    { given: { port } },
  );
  const [, own] = await cluster.until(/THREAD (\d+)/);
  assert.equal((await request(Number(own))).body, 'from the thread');
  assert.equal((await request(port)).body, 'from the worker');
});
