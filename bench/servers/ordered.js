'use strict';

// drover with commands: ordered.js PORT CONFIG, the last as JSON. Every response is its worker's process id. Run with
// CLUSTER_ENABLED=false it is the same script as one process.

const http = require('node:http');
const { createServer } = require('../..');
const { takeCommands } = require('./commands');

const [port, config] = process.argv.slice(2);
const app = createServer({
  app: http.createServer((request, response) => response.end(String(process.pid))),
  cluster: { enabled: true, config: JSON.parse(config) },
});

app.start(Number(port), '127.0.0.1').then(
  () => {
    if (!app.isPrimary) return;
    takeCommands({
      roll: () => app.restartCluster(),
      scale: ({ to }) => app.scale(to),
      workers: async () => app.getAllWorkers().map(({ pid, detail }) => ({ pid, detail })),
    });
    console.log('ready');
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
