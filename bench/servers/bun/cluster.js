'use strict';

// Bun's node:cluster: cluster.js WORKERS. The command `roll` replaces each worker, new ones first.

const cluster = require('node:cluster');
const path = require('node:path');
const { takeCommands } = require('../commands');

const workers = Number(process.argv[2]);
cluster.setupPrimary({ exec: path.join(__dirname, 'program.js'), args: [] });

const running = [];
/** The processes of all workers, which outlive this one. */
const started = [];
/** Resolves when the worker listens. */
const start = (id) =>
  new Promise((resolve) => {
    running[id] = cluster.fork({ WORKER_ID: String(id) }).once('listening', resolve);
    started.push(running[id].process);
  });

takeCommands({
  async roll() {
    for (let id = 0; id < workers; id += 1) {
      const old = running[id];
      await start(id);
      const ended = new Promise((resolve) => old.once('exit', resolve));
      old.disconnect();
      // Its kept connections may never end.
      const timer = setTimeout(() => old.kill(), 3000);
      await ended;
      clearTimeout(timer);
    }
  },
});
process.on('SIGTERM', () => {
  for (const child of started) child.kill('SIGKILL');
  process.exit();
});
Promise.all(Array.from({ length: workers }, (_, id) => start(id))).then(() => console.log('ready'));
