'use strict';

// Socket.IO with both of its transports: long polling needs every request of a client to reach the same worker, which
// `stickySession` ensures. PORT sets the port (3000).

const http = require('node:http');
const { Server } = require('socket.io');
const { createServer } = require('drover');

const server = http.createServer((request, response) => {
  response.end('Connect with socket.io-client.\n');
});

const io = new Server(server);

io.on('connection', (socket) => {
  socket.emit('hello', { worker: process.env.WORKER_ID, pid: process.pid });
  socket.on('echo', (data, answer) => answer(data));
});

const app = createServer({
  app: server,
  cluster: { enabled: true, config: { loadBalancing: { stickySession: true } } },
});

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Socket.IO serves on http://localhost:${app.address().port}`);
});
