'use strict';

// node run-in-worker.js FILE [FLAG ...]: runs the file as the program of a cluster of one worker and exits as it does.

const { ClusterManager } = require('../..');

const [exec, ...execArgv] = process.argv.slice(2);
const manager = new ClusterManager({
  workers: 1,
  exec,
  execArgv,
  args: [],
  // A test that listens is ready then. Some never listen and run anyway.
  processManagement: { respawn: false, startupTimeout: '1h' },
  monitoring: { port: false },
});
manager.once('worker:exit', ({ exitCode }) => process.exit(exitCode ?? 1));
manager.start().catch(() => {
  // The worker's end was reported, or there was no worker: then nothing has run.
  process.exitCode = 1;
});
