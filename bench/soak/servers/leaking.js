'use strict';

// leaking.js PORT WORKERS SEED CONFIG: each worker leaks at a rate of its own, 1 to 5 MB/s, which its slot, its process and
// SEED decide. It answers with its process id. The primary prints `ready`, then each event of a limit or an exit as JSON.

const http = require('node:http');
const { createServer } = require('../../..');

const MB = 1024 * 1024;
const INTERVAL_MS = 100;

const [port, workers, seed, config] = process.argv.slice(2);
const kept = [];

function leak() {
  // A number of this process's own between 0 and 1.
  const mixed = Math.imul(Number(seed) ^ (process.pid * 0x9e3779b9), 0x85ebca6b) >>> 0;
  const rate = (1 + (4 * mixed) / 2 ** 32) * MB;
  setInterval(() => kept.push(Buffer.alloc((rate * INTERVAL_MS) / 1000, 1)), INTERVAL_MS).unref();
}

const app = createServer({
  app: http.createServer((_, response) => response.end(String(process.pid))),
  cluster: { enabled: true, config: { workers: Number(workers), ...JSON.parse(config) } },
});

app.start(Number(port), '127.0.0.1').then(() => {
  if (!app.isPrimary) return leak();
  const told = (type) => (data) => console.log(JSON.stringify({ type, ...data }));
  for (const type of ['worker:limit', 'worker:exit']) app.cluster.on(type, told(type));
  console.log('ready');
});
