'use strict';

// node run-in-worker.js FILE [FLAG ...]: runs the file as the program of a cluster of one worker and exits as it does.

const { ClusterManager } = require('../..');

const [exec, ...execArgv] = process.argv.slice(2);
const manager = new ClusterManager({
  workers: 1,
  exec,
  execArgv,
  args: [],
  // Some listen, some never do, most end by themselves.
  processManagement: { ready: 'boot', respawn: false },
  monitoring: { port: false },
});
manager.once('worker:exit', ({ exitCode }) => process.exit(exitCode ?? 1));
manager.start().catch(() => {
  // The end of the worker has been told, or there was none: nothing has run then.
  process.exitCode = 1;
});
