'use strict';

// drover before handlers that take 50 to 250 ms and note how long each really took: node slow.js PORT MONITORING_PORT.
// GET /durations answers with this worker's notes, milliseconds, and is itself not noted. At SIGUSR2 the primary's JavaScript
// is blocked for BLOCKED ms.

const http = require('node:http');
const { createServer } = require('../..');

const [port, monitoring] = process.argv.slice(2).map(Number);
const durations = [];
const BLOCKED = 3000;

const app = createServer({
  app: http.createServer((request, response) => {
    if (request.url === '/durations') return void response.end(JSON.stringify({ pid: process.pid, durations }));
    const began = performance.now();
    const done = () => {
      response.end('ok');
      durations.push(performance.now() - began);
    };
    setTimeout(done, 50 + Math.random() * 200);
  }),
  cluster: { enabled: true, config: { workers: 2, logging: { level: 'error' }, monitoring: { port: monitoring } } },
});

app.start(port, '127.0.0.1').then(() => {
  if (!app.isPrimary) return;
  process.on('SIGUSR2', () => {
    console.log('blocked');
    for (const until = performance.now() + BLOCKED; performance.now() < until; );
  });
  console.log('ready');
});
