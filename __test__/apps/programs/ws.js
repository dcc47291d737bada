'use strict';

const { overWebSocket } = require('../clients');

module.exports = {
  versions: { ws: '8.23.0' },
  files: {
    'server.js': `
      const { WebSocketServer } = require('ws');
      const server = new WebSocketServer({ port: Number(process.env.PORT), host: process.env.HOST });
      server.on('connection', (socket, request) => {
        socket.send('welcome to ' + request.url);
        socket.on('message', (data) => socket.send('echo ' + data));
      });
      process.on('SIGTERM', () => {
        for (const client of server.clients) client.close(1001);
        server.close(() => console.log('CLEANED'));
      });`,
  },
  client: async ({ port }) => {
    let welcome;
    return overWebSocket(`ws://127.0.0.1:${port}/room`, async ({ send, next }) => {
      welcome ??= await next();
      send('hello');
      return [welcome, await next()];
    });
  },
  says: /welcome to \/room.*echo hello/,
  hook: /CLEANED/,
};
