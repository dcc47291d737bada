'use strict';

// As PID 1, a container's first process: signals stop the cluster, orphans are reaped, and Node's own children
// are left to Node.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

const canUnshare = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0;
const skip = canUnshare ? false : 'no PID namespaces here';

/** What the kernel says of a process; nothing of one that has ended. */
function told(pid, file) {
  try {
    return fs.readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** The process that is PID 1 in a namespace of its own, and its id as it is seen from here. */
async function first(t, main, given) {
  const options = { node: 'unshare', execArgv: ['--pid', '--fork', '--kill-child', '--mount-proc', process.execPath] };
  const outer = program(t, main, { given, ...options });
  await outer.until(/the cluster is ready/);
  const primary = outer.others().find((pid) => /^NSpid:\s+\d+\s+1$/m.test(told(pid, 'status')));
  return { outer, primary };
}

/** Leaves an orphan, and says when it is still there after four seconds: one that is reaped is gone after three. */
function leaving({ port }) {
  const { spawn, spawnSync } = require('node:child_process');
  const fs = require('node:fs');
  const { createServer } = require('drover');
  const app = createServer({
    cluster: { enabled: true, config: { workers: 1, processManagement: { zombieDetection: false } } },
  });
  app.get('/', (_, response) => response.send('ok'));
  app.start(port, '127.0.0.1').then(() => {
    if (app.isWorker) return;
    spawnSync('sh', ['-c', 'sleep 0.2 & exit 0']);
    const isLeft = () =>
      fs.readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && /\) Z 1 /.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1')));
    const since = performance.now();
    const next = () => {
      spawn('sh', ['-c', 'sleep 0.1']).on('exit', () => {
        if (performance.now() - since < 4000) next();
        else console.log(isLeft() ? 'LEFT' : 'REAPED');
      });
    };
    next();
    console.log('the cluster is ready');
  });
}

function cluster({ port }) {
  const { spawn, spawnSync } = require('node:child_process');
  const fs = require('node:fs');
  const { createServer } = require('drover');
  const app = createServer({ cluster: { enabled: true, config: { workers: 2 } } });
  app.get('/', (_, response) => response.send(`${process.ppid}`));
  app.start(port, '127.0.0.1').then(() => {
    if (app.isWorker) return;
    // Shells that leave a child behind, which ends a little later as nobody's.
    for (let count = 0; count < 5; count += 1) spawnSync('sh', ['-c', 'sleep 0.3 & exit 0']);
    const zombies = () =>
      fs.readdirSync('/proc').filter((pid) => {
        try {
          return /^\d+$/.test(pid) && /\) Z 1 /.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'));
        } catch {
          return false;
        }
      });
    // Node's own children, which end all the while that somebody looks for orphans.
    let [most, ended, wrong] = [0, 0, 0];
    const next = () => {
      spawn('sh', ['-c', 'exit 7']).on('exit', (code) => {
        ended += 1;
        if (code !== 7) wrong += 1;
        const now = zombies().length;
        most = Math.max(most, now);
        if (most >= 5 && now === 0 && ended >= 10) console.log(`REAPED ${most}, ${wrong} of ${ended} own`);
        else next();
      });
    };
    next();
    console.log('the cluster is ready');
  });
}

test('as PID 1 drover reaps orphans and leaves Node’s own children alone', { skip }, async (t) => {
  const port = await freePort();
  const { outer } = await first(t, cluster, { port });
  const [, wrong] = await outer.until(/REAPED \d+, (\d+) of \d+ own/);
  assert.equal(wrong, '0');
  assert.equal((await request(port)).body, '1');
});

test('with zombieDetection off orphans are left to the program', { skip }, async (t) => {
  const { outer } = await first(t, leaving, { port: await freePort() });
  const [what] = await outer.until(/^(?:LEFT|REAPED)/m);
  assert.equal(what, 'LEFT');
});

test('as PID 1 it is stopped in order by SIGTERM, and replaces workers', { skip }, async (t) => {
  const port = await freePort();
  const { outer, primary } = await first(t, cluster, { port });
  const worker = outer.others().find((pid) => told(pid, 'cmdline').startsWith('drover: worker'));
  process.kill(worker, 'SIGKILL');
  await outer.eventMany(3, 'worker:ready');
  assert.equal((await request(port)).body, '1');
  process.kill(primary, 'SIGTERM');
  await outer.event('cluster:stopped');
  assert.deepEqual(await outer.exit, { code: 0, signal: null });
  await outer.gone();
});
