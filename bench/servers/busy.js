'use strict';

// drover with a handler that takes 10 to 40 ms of processor time: busy.js PORT WORKERS CONFIG HASHES, the last two as
// JSON and as the hashes that take a millisecond. Commands: `block` { ms } blocks the event loop of every worker.

const { createHash } = require('node:crypto');
const http = require('node:http');
const { createServer } = require('../..');
const { takeCommands } = require('./commands');

const [port, workers, config, hashes] = process.argv.slice(2);
const [SHORTEST, LONGEST] = [10, 40];
const block = Buffer.alloc(16 * 1024, 'x');

function work(milliseconds) {
  for (let left = Math.round(milliseconds * Number(hashes)); left > 0; left -= 1) createHash('sha256').update(block).digest();
}

const server = http.createServer((request, response) => {
  work(SHORTEST + Math.random() * (LONGEST - SHORTEST));
  response.end(process.env.WORKER_ID);
});
const app = createServer({ app: server, cluster: { enabled: true, config: { workers: Number(workers), ...JSON.parse(config) } } });

app.onMessage('block', (ms) => {
  // After the answer is sent.
  setTimeout(() => {
    for (const end = performance.now() + ms; performance.now() < end; );
  }, 10);
});

app.start(Number(port), '127.0.0.1').then(
  () => {
    if (!app.isPrimary) return;
    takeCommands({ block: ({ ms }) => app.broadcastToWorkers('block', ms), metrics: () => app.getClusterMetrics() });
    console.log('ready');
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
