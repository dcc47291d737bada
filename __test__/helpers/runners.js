'use strict';

// Runs one program as a single process, under node:cluster and under drover, to compare drover's behaviour with that of
// Node.js.

const { program } = require('./program');

const starts = {
  'one process': (main, given) => main(given),
  'node:cluster': (main, given, workers) => {
    const cluster = require('node:cluster');
    if (!cluster.isPrimary) return main(given);
    for (let worker = 0; worker < workers; worker += 1) cluster.fork();
    // Exits with its workers, as drover's primary does on SIGTERM.
    process.on('SIGTERM', () => {
      for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
      process.exit(0);
    });
  },
  drover: (main, given, workers, config) => {
    if (process.env.CLUSTER_WORKER === 'true') return main(given);
    const { ClusterManager } = require('drover');
    // By default, a stop does not wait for what the program leaves open.
    const processManagement = { lingerTimeout: 0, ...config.processManagement };
    const manager = new ClusterManager({ workers, ...config, processManagement });
    manager.start().then(
      () => console.log('STARTED'),
      (error) => console.log(`NOT STARTED ${error.message}`),
    );
  },
};

const runners = Object.keys(starts);

/** Starts `main` under this runner. Options: workers, config (a ClusterConfig), given, and those of `run`. */
function runAs(t, runner, main, { workers = 1, config = {}, given = {}, ...options } = {}) {
  const args = [JSON.stringify(given), workers, JSON.stringify(config)];
  return program(t, `'use strict';\n(${starts[runner]})(${main}, ${args});\n`, options);
}

module.exports = { runAs, runners };
