'use strict';

// One plain process that stops as the documentation of Node.js has it: at SIGTERM it closes its server and ends when
// the last connection has. PORT says where it listens, BENCH_HOST at which address; it prints `ready` when it does.

const http = require('node:http');
const { handler } = require('../app');

const server = http.createServer(handler).listen(Number(process.env.PORT), process.env.BENCH_HOST ?? '127.0.0.1', () => console.log('ready'));
process.on('SIGTERM', () => server.close());
