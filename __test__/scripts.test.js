'use strict';

// Scripts that do not become workers: the operator sees the first error at once, drover tries as often as it
// may, `start` rejects with that error, and nothing is left.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { pathToFileURL } = require('node:url');
const { freePort, request } = require('./helpers/http');
const { program, write } = require('./helpers/program');
const { isBun, printed } = require('./helpers/runtime');

/** Runs `worker` in two workers and tells how `start` ended and how often a worker began. */
function starting({ exec, config }) {
  const { ClusterManager } = require('drover');
  const manager = new ClusterManager({
    workers: 2,
    exec,
    ...config,
    processManagement: { maxRestarts: 2, restartDelay: 20, ...config.processManagement },
  });
  manager.on('worker:started', ({ workerId }) => console.log(`BEGAN ${workerId}`));
  manager.on('worker:error', ({ workerId, error }) => console.log(`HEARD ${workerId} ${error.message}`));
  manager.start().then(
    () => console.log('STARTED'),
    ({ name, code, message, stack, details }) =>
      console.log(`REJECTED ${JSON.stringify({ name, code, message, stack, details })}`),
  );
}

function startOf(t, worker, config = {}, options = {}) {
  const exec = write(t, worker, { name: 'worker.js' });
  return program(t, starting, { given: { exec, config }, ...options });
}

/** How often each slot's worker began. */
function begins(cluster) {
  const slots = [...cluster.stdout.matchAll(/BEGAN (\d)/g)].map(([, slot]) => slot);
  return [slots.filter((slot) => slot === '0').length, slots.filter((slot) => slot === '1').length];
}

async function rejection(cluster) {
  const { code } = await cluster.exit;
  const [, told] = await cluster.until(/REJECTED (.*)/);
  assert.equal(code, 1, cluster.output);
  await cluster.gone();
  return JSON.parse(told);
}

test('a script that throws at boot is shown with its stack, tried as often as allowed, and rejects the start', async (t) => {
  const cluster = startOf(t, () => {
    function connect() {
      throw Object.assign(new TypeError('the database is away'), { code: 'E_AWAY' });
    }
    connect();
  });
  const error = await rejection(cluster);
  assert.equal(error.name, 'TypeError');
  assert.equal(error.code, 'E_AWAY');
  assert.equal(error.message, 'the database is away');
  assert.match(error.stack, /at connect .*worker\.js:\d+/);
  // Two restarts in each slot after the first try.
  assert.deepEqual(begins(cluster), [3, 3], cluster.output);
  const shown = cluster.stderr.match(new RegExp(`${printed('TypeError', 'the database is away')}connect`, 'g'));
  assert.equal(shown.length, 6, cluster.stderr);
  assert.match(cluster.stdout, /HEARD 0 the database is away/);
});

test('the first error is shown at once, not after all tries', async (t) => {
  const cluster = startOf(
    t,
    () => {
      throw new Error('the database is away');
    },
    { processManagement: { restartDelay: 60_000, maxRestartDelay: 60_000 } },
  );
  await cluster.until(new RegExp(printed('Error', 'the database is away')));
  await cluster.until(/BEGAN/);
  assert.doesNotMatch(cluster.stdout, /REJECTED/);
});

test('an uncaught start ends the program with a code that is not 0', async (t) => {
  const cluster = program(t, () => {
    const { createServer } = require('drover');
    const processManagement = { maxRestarts: 0 };
    const app = createServer({ cluster: { enabled: true, config: { workers: 2, processManagement } } });
    if (app.isWorker) throw new RangeError('too far');
    app.start(0, '127.0.0.1');
  });
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
  assert.match(cluster.stderr, new RegExp(printed('RangeError', 'too far')));
  await cluster.gone();
});

test('a script that ends with 0 and never listens is named, with startupTimeout', async (t) => {
  const cluster = startOf(t, () => console.log('nothing to do'));
  const error = await rejection(cluster);
  assert.equal(error.name, 'WorkerStartupError');
  assert.equal(error.code, 'WORKER_STARTUP_FAILED');
  assert.match(error.message, /worker\.js exited with code 0 before it was ready \(startupTimeout is 60 s\)/);
  assert.equal(error.details.exitCode, 0);
  assert.deepEqual(begins(cluster), [3, 3]);
});

test('a script that ends with another code is named with it', async (t) => {
  const cluster = startOf(t, () => process.exit(7));
  const error = await rejection(cluster);
  assert.match(error.message, /worker\.js ended with exit code 7 before it was ready/);
  assert.equal(error.details.exitCode, 7);
});

test('a script that never listens is ended and named, with startupTimeout', async (t) => {
  const cluster = startOf(t, () => setInterval(() => {}, 60_000), {
    processManagement: { startupTimeout: 300, maxRestarts: 1 },
  });
  const error = await rejection(cluster);
  assert.equal(error.code, 'WORKER_STARTUP_FAILED');
  assert.match(error.message, /worker\.js was not ready after 0\.3 s \(startupTimeout\)/);
  assert.equal(error.details.reason, 'never_ready');
  assert.deepEqual(begins(cluster), [2, 2]);
});

test('a script in an endless loop at boot is ended too', async (t) => {
  const cluster = startOf(
    t,
    () => {
      for (;;);
    },
    { workers: 1, processManagement: { startupTimeout: 300, maxRestarts: 0 } },
  );
  const error = await rejection(cluster);
  assert.match(error.message, /was not ready after 0\.3 s/);
});

test('a program that serves nothing gets one hint about ready long before startupTimeout', async (t) => {
  const config = { processManagement: { startupTimeout: 60_000 / 4, lingerTimeout: 0 } };
  const cluster = startOf(t, () => setInterval(() => {}, 60_000), config);
  await cluster.until(/A worker runs for 2\.5 s and does not listen yet; .*processManagement\.ready: 'boot'/);
  assert.deepEqual(cluster.events('worker:exit'), []);
  assert.equal((await cluster.stop()).code, 0, cluster.output);
  assert.equal(cluster.stdout.match(/A worker runs for/g).length, 1, cluster.output);
});

test("a worker with ready: 'message' gets a hint about the missing message", async (t) => {
  const config = { workers: 1, processManagement: { startupTimeout: 60_000 / 4, ready: 'message' } };
  const cluster = startOf(t, () => require('node:http').createServer().listen(0), config);
  await cluster.until(/A worker runs for 2\.5 s and has not called process\.send\('ready'\) yet/);
});

test('the log line of a worker that was never ready says what would have made it ready', async (t) => {
  for (const [ready, says] of [['listen', "processManagement\\.ready: 'boot'"], ['message', "ready when it calls process\\.send\\('ready'\\)"]]) {
    const config = { workers: 1, processManagement: { startupTimeout: 300, maxRestarts: 0, ready } };
    const cluster = startOf(t, () => setInterval(() => {}, 60_000), config);
    const error = await rejection(cluster);
    assert.match(error.message, new RegExp(says));
    const { msg } = await cluster.event('worker:exit', { reason: 'never_ready' });
    assert.match(msg, new RegExp(`was not ready in time and was killed \\(pid \\d+\\): .*${says}`));
  }
});

test('a worker that is ready in time gets no hint', async (t) => {
  const config = { workers: 1, processManagement: { startupTimeout: 60_000 / 4 } };
  const cluster = startOf(
    t,
    () => {
      require('node:http').createServer().listen(0);
      // When the hint would have come.
      setTimeout(() => console.log('LATER'), 2600);
    },
    config,
  );
  await cluster.until(/LATER/);
  assert.doesNotMatch(cluster.output, /A worker runs for/);
});

test('a missing script is a single error before anything is started', async (t) => {
  const exec = path.join(path.dirname(write(t, () => {})), 'missing.js');
  for (const named of [exec, pathToFileURL(exec).href]) {
    const cluster = program(t, starting, { given: { exec: named, config: {} } });
    const error = await rejection(cluster);
    assert.equal(error.code, 'NO_SCRIPT');
    assert.equal(error.message, `exec names ${exec}, which is not there`);
    assert.deepEqual(error.details, { option: 'exec', path: exec });
    assert.equal(cluster.output.trim().split('\n').length, 1, cluster.output);
  }
});

test('a wrong path that nobody handles is printed once, without an inner stack', async (t) => {
  const cluster = program(t, () => {
    const { ClusterManager } = require('drover');
    new ClusterManager({ exec: 'server', cwd: 'elsewhere' }).start();
  });
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
  assert.equal(cluster.output.match(/exec names/g).length, 1, cluster.output);
  assert.match(cluster.stderr, /exec names (.*)\/elsewhere\/server, which is not there: server is looked for in the workers' folder, \1\/elsewhere \(cwd\)/);
  assert.doesNotMatch(cluster.output, /at .*\/lib\//);
  // Bun shows the lines of the source too.
  assert.ok(cluster.output.trim().split('\n').length < (isBun ? 20 : 15), cluster.output);
  await cluster.gone();
});

test('an unhandled start failure of a worker is printed once by the primary, with the original error', async (t) => {
  const cluster = program(
    t,
    ({ exec }) => {
      const { ClusterManager } = require('drover');
      new ClusterManager({ exec, workers: 1, processManagement: { maxRestarts: 0 } }).start();
    },
    {
      given: {
        exec: write(t, () => {
          throw new TypeError('the database is away');
        }),
      },
    },
  );
  assert.deepEqual(await cluster.exit, { code: 1, signal: null });
  // Behind the worker's own report.
  const shown = cluster.stderr.slice(cluster.stderr.indexOf(isBun ? 'Bun v' : 'node:internal/process/promises'));
  assert.equal(shown.match(/TypeError: the database is away/g).length, 1, cluster.output);
  assert.match(shown, /^TypeError: the database is away$/m);
});

/** Forms of one script's name, each made from its folder. */
const forms = {
  'a path from the workers\' folder': () => ({ exec: './worker.js' }),
  'a name without its extension': () => ({ exec: 'worker' }),
  'a whole path': (place) => ({ exec: path.join(place, 'worker.js') }),
  'a file URL as a text': (place) => ({ exec: pathToFileURL(path.join(place, 'worker.js')).href }),
  'a URL object': (place) => ({ url: pathToFileURL(path.join(place, 'worker.js')).href }),
  'a folder with an index.js': (place) => {
    fs.mkdirSync(path.join(place, 'main'));
    fs.renameSync(path.join(place, 'worker.js'), path.join(place, 'main', 'index.js'));
    return { exec: 'main' };
  },
};

for (const [form, named] of Object.entries(forms)) {
  test(`exec may be ${form}`, async (t) => {
    const place = path.dirname(write(t, () => require('node:http').createServer().listen(0), { name: 'worker.js' }));
    const cluster = program(
      t,
      ({ exec, url, cwd }) => {
        const { ClusterManager } = require('drover');
        const manager = new ClusterManager({ exec: url ? new URL(url) : exec, cwd, workers: 1 });
        manager.start().then(() => console.log('STARTED'));
      },
      { given: { ...named(place), cwd: place } },
    );
    await cluster.until(/STARTED/);
    assert.equal((await cluster.stop()).code, 0, cluster.output);
  });
}

test('a missing interpreter fails with the error of the system call', async (t) => {
  const exec = write(t, () => {});
  const cluster = program(t, starting, { given: { exec, config: { interpreter: '/nowhere/node' } } });
  const error = await rejection(cluster);
  assert.equal(error.code, 'SYSTEM');
  assert.match(error.message, /spawn: No such file or directory/);
});

test('a program without a script says that there is none to run', async (t) => {
  const source = `require('drover').createServer({ cluster: { enabled: true } }).start(0).catch(({ code }) => console.log('REJECTED', code))`;
  const place = path.dirname(write(t, () => {}));
  for (const flag of ['-e', '-p']) {
    const cluster = program(t, () => {}, {
      execArgv: [flag, source],
      cwd: place,
      args: ['an argument'],
    });
    await cluster.until(/REJECTED NO_SCRIPT/);
    assert.equal((await cluster.exit).code, 1, cluster.output);
  }
});

test('when one slot alone fails the start resolves, degraded, and the rest serves', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const { createServer } = require('drover');
      const processManagement = { maxRestarts: 2, restartDelay: 20 };
      const config = { workers: 3, processManagement, loadBalancing: { healthAware: false } };
      const app = createServer({ cluster: { enabled: true, config } });
      if (app.workerId === '1') throw new Error('slot 1 alone cannot');
      app.get('/', (_, response) => response.send(app.workerId));
      app.cluster.on('cluster:degraded', (event) => console.log(`DEGRADED ${JSON.stringify(event)}`));
      app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('STARTED'));
    },
    { given: { port } },
  );
  await cluster.until(/STARTED/);
  const [, told] = await cluster.until(/DEGRADED (.*)/);
  const { ready, wanted, failing, timestamp } = JSON.parse(told);
  assert.deepEqual({ ready, wanted, failing }, { ready: 2, wanted: 3, failing: ['1'] });
  assert.ok(Math.abs(Date.now() - timestamp) < 60_000);
  const answers = new Set();
  for (let visit = 0; visit < 4; visit += 1) answers.add((await request(port)).body);
  assert.deepEqual([...answers].sort(), ['0', '2']);
});
