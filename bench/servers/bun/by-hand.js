'use strict';

// Bun's own answer: processes with `reusePort`, started by hand: by-hand.js WORKERS. The command `roll` replaces each, new
// ones first.

const { spawn } = require('node:child_process');
const path = require('node:path');
const { takeCommands } = require('../commands');

const workers = Number(process.argv[2]);
const running = [];

/** Resolves when the process serves. */
function start(id) {
  const env = { ...process.env, REUSE_PORT: '1', WORKER_ID: String(id) };
  const child = spawn(process.execPath, [path.join(__dirname, 'program.js')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  running[id] = child;
  child.exited = new Promise((resolve) => child.once('exit', resolve));
  return new Promise((resolve) => child.stdout.once('data', resolve));
}

async function replace(id) {
  const old = running[id];
  await start(id);
  old.kill('SIGTERM');
  await old.exited;
}

takeCommands({
  async roll() {
    for (let id = 0; id < workers; id += 1) await replace(id);
  },
});
process.on('SIGTERM', () => {
  for (const child of running) child.kill('SIGKILL');
  process.exit();
});
Promise.all(Array.from({ length: workers }, (_, id) => start(id))).then(() => console.log('ready'));
