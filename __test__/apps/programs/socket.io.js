'use strict';

module.exports = {
  versions: { 'socket.io': '4.8.4', 'socket.io-client': '4.8.4' },
  files: {
    'server.js': `
      const { createServer } = require('node:http');
      const { Server } = require('socket.io');
      const server = createServer();
      const io = new Server(server);
      io.on('connection', (socket) => {
        socket.join('room');
        socket.on('add', (numbers, answer) => answer(numbers.reduce((a, b) => a + b)));
      });
      server.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', async () => {
        await io.close();
        console.log('CLEANED');
        process.exit(0);
      });`,
  },
  // Polling, then the upgrade: the requests of one client belong to one worker.
  config: { loadBalancing: { stickySession: true } },
  client: ({ require, port }) => {
    const { io } = require('socket.io-client');
    const socket = io(`http://127.0.0.1:${port}`, { forceNew: true, retries: 5, ackTimeout: 2000, reconnectionDelay: 50, reconnectionDelayMax: 100 });
    return {
      ask: () => socket.emitWithAck('add', [1, 2, 3]),
      close: () => {
        const { engine } = socket.io;
        const closed = new Promise((resolve) => (engine?.readyState === 'open' ? engine.once('close', resolve) : resolve()));
        socket.disconnect();
        return closed;
      },
    };
  },
  says: /6/,
  hook: /CLEANED/,
};
