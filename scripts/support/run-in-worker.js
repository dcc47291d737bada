'use strict';

// node run-in-worker.js FILE [FLAG ...]: runs the file as the program of a cluster of one worker and exits as it does.

const { ClusterManager } = require('../..');

const [exec, ...execArgv] = process.argv.slice(2);
const manager = new ClusterManager({
  workers: 1,
  exec,
  execArgv,
  args: [],
  // Who listens serves from then on. Some never do: they run all the same.
  processManagement: { respawn: false, startupTimeout: '1h' },
  monitoring: { port: false },
});
manager.once('worker:exit', ({ exitCode }) => process.exit(exitCode ?? 1));
manager.start().catch(() => {
  // The end of the worker has been told, or there was none: nothing has run then.
  process.exitCode = 1;
});
