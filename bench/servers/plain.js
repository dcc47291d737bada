'use strict';

// One plain process: the bare contender, a worker of node:cluster, or a worker on an inherited listener.
// PORT or LISTEN_FD says where it listens; it prints `ready` when it does.

const http = require('node:http');
const { handler } = require('../app');

const { LISTEN_FD, PORT } = process.env;
const address = LISTEN_FD ? { fd: Number(LISTEN_FD) } : { port: Number(PORT), host: '127.0.0.1' };

http.createServer(handler).listen(address, () => console.log('ready'));

// The launcher holds the other end: it may end in any way, no worker outlives it.
if (LISTEN_FD) process.stdin.resume().on('end', () => process.exit());
