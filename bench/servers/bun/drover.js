'use strict';

// drover: drover.js WORKERS CONFIG, the last as JSON. The command `roll` is a rolling restart.

const path = require('node:path');
const { ClusterManager } = require('../../..');
const { takeCommands } = require('../commands');

const [workers, config] = process.argv.slice(2);
const manager = new ClusterManager({ exec: path.join(__dirname, 'program.js'), workers: Number(workers), ...JSON.parse(config) });

takeCommands({ roll: () => manager.restart() });
manager.start().then(
  () => console.log('ready'),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
