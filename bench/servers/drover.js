'use strict';

// drover with the same program: drover.js PORT WORKERS CONFIG, the last as JSON. The primary prints `ready`. BENCH_HOST
// sets the address (loopback).

const http = require('node:http');
const { createServer } = require('../..');
const { handler } = require('../app');

const [port, workers, config] = process.argv.slice(2);
const app = createServer({
  app: http.createServer(handler),
  cluster: { enabled: true, config: { workers: Number(workers), ...JSON.parse(config) } },
});

app.start(Number(port), process.env.BENCH_HOST ?? '127.0.0.1').then(
  () => app.isPrimary && console.log('ready'),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
