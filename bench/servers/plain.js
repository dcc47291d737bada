'use strict';

// One plain process: the bare contender, a worker of node:cluster, or a worker on an inherited listener.
// It listens on PORT or LISTEN_FD, and prints `ready` then.

const http = require('node:http');
const { handler } = require('../app');

const { LISTEN_FD, PORT } = process.env;
const address = LISTEN_FD ? { fd: Number(LISTEN_FD) } : { port: Number(PORT), host: '127.0.0.1' };

http.createServer(handler).listen(address, () => console.log('ready'));

// The launcher holds the other end, so that no worker outlives it, however it ends.
if (LISTEN_FD) process.stdin.resume().on('end', () => process.exit());
