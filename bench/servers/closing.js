'use strict';

// One plain process that stops as in the documentation of Node.js: at SIGTERM it closes its server and exits when the
// last connection has ended. It listens on PORT and BENCH_HOST, and prints `ready` then.

const http = require('node:http');
const { handler } = require('../app');

const server = http.createServer(handler).listen(Number(process.env.PORT), process.env.BENCH_HOST ?? '127.0.0.1', () => console.log('ready'));
process.on('SIGTERM', () => server.close());
