'use strict';

// drover with handlers that take 50 to 250 ms and record their actual duration: node slow.js PORT MONITORING_PORT. GET
// /durations responds with this worker's records, milliseconds, and is itself not recorded. At SIGUSR2 the primary's
// JavaScript is blocked for BLOCKED ms.

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
