'use strict';

// One program under one process, node:cluster and drover, so that what is expected of it is not drover's word alone.

const { program } = require('./program');

const starts = {
  'one process': (main, given) => main(given),
  'node:cluster': (main, given, workers) => {
    const cluster = require('node:cluster');
    if (!cluster.isPrimary) return main(given);
    for (let worker = 0; worker < workers; worker += 1) cluster.fork();
    // As drover's primary does, and the test's SIGTERM: with its workers.
    process.on('SIGTERM', () => {
      for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
      process.exit(0);
    });
  },
  drover: (main, given, workers, config) => {
    if (process.env.CLUSTER_WORKER === 'true') return main(given);
    const { ClusterManager } = require('drover');
    // What a program leaves open is not waited for at its end, unless a test is about that.
    const processManagement = { lingerTimeout: 0, ...config.processManagement };
    const manager = new ClusterManager({ workers, ...config, processManagement });
    manager.start().then(
      () => console.log('STARTED'),
      (error) => console.log(`NOT STARTED ${error.message}`),
    );
  },
};

const runners = Object.keys(starts);

/** Starts `main` as the program of this runner. Options: workers, config (a ClusterConfig), given, and those of `run`. */
function runAs(t, runner, main, { workers = 1, config = {}, given = {}, ...options } = {}) {
  const args = [JSON.stringify(given), workers, JSON.stringify(config)];
  return program(t, `'use strict';\n(${starts[runner]})(${main}, ${args});\n`, options);
}

module.exports = { runAs, runners };
