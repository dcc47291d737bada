'use strict';

// PM2 in cluster mode before the program. PM2_HOME is a folder of this run alone; the daemon that lives there is
// ended by its own process id when standard input ends.

const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const pm2 = require('pm2');
const { inTurn, takeCommands } = require('../../servers/commands');
const { graceMs, workers } = require('./settings');

const NAME = 'soak';
const DAEMON_TIME_MS = 5000;

const call = (method, ...args) => promisify(pm2[method].bind(pm2))(...args);

const isAlive = (pid) => fs.existsSync(`/proc/${pid}`);

async function end() {
  const daemon = Number(fs.readFileSync(path.join(process.env.PM2_HOME, 'pm2.pid'), 'utf8'));
  await call('delete', NAME);
  pm2.disconnect();
  process.kill(daemon, 'SIGTERM');
  const deadline = performance.now() + DAEMON_TIME_MS;
  // It is nobody's child: only looking tells that it is gone.
  while (isAlive(daemon) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  if (isAlive(daemon)) process.kill(daemon, 'SIGKILL');
  process.exit(0);
}

async function main() {
  await call('connect');
  await call('start', {
    name: NAME,
    script: path.join(__dirname, 'plain.js'),
    exec_mode: 'cluster',
    instances: workers,
    wait_ready: true,
    listen_timeout: 10_000,
    kill_timeout: graceMs,
    max_restarts: 1000,
    out_file: '/dev/null',
    error_file: '/dev/null',
  });
  takeCommands({
    roll: inTurn(() => call('reload', NAME).then(() => null)),
    scale: inTurn(({ to }) => call('scale', NAME, to).then(() => null)),
    workers: async () =>
      (await call('list')).map(({ pid, pm2_env }) => ({ pid, ready: pm2_env.status === 'online' })),
  });
  process.stdin.once('end', end);
  console.log('ready');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
