'use strict';

const { overWebSocket } = require('../clients');

module.exports = {
  versions: {
    '@nestjs/common': '12.5.1',
    '@nestjs/core': '12.5.1',
    '@nestjs/platform-express': '12.5.1',
    '@nestjs/websockets': '12.1.1',
    '@nestjs/platform-ws': '12.1.1',
    'reflect-metadata': '0.2.2',
    rxjs: '7.8.2',
  },
  files: {
    'server.js': `
      require('reflect-metadata');
      const { Module } = require('@nestjs/common');
      const { NestFactory } = require('@nestjs/core');
      const { WebSocketGateway, SubscribeMessage } = require('@nestjs/websockets');
      const { WsAdapter } = require('@nestjs/platform-ws');
      class Gateway {
        add(client, numbers) {
          return { event: 'sum', data: numbers.reduce((a, b) => a + b) };
        }
        onApplicationShutdown(signal) {
          console.log('CLEANED', signal);
        }
      }
      SubscribeMessage('add')(Gateway.prototype, 'add', Object.getOwnPropertyDescriptor(Gateway.prototype, 'add'));
      WebSocketGateway()(Gateway);
      class App {}
      Module({ providers: [Gateway] })(App);
      NestFactory.create(App, { logger: ['warn', 'error', 'fatal'] }).then((app) => {
        app.useWebSocketAdapter(new WsAdapter(app));
        app.enableShutdownHooks();
        return app.listen(Number(process.env.PORT), process.env.HOST);
      });`,
  },
  client: ({ port }) =>
    overWebSocket(`ws://127.0.0.1:${port}`, async ({ send, next }) => {
      send({ event: 'add', data: [1, 2, 3] });
      return next();
    }),
  // Nest ends its connections without a close frame.
  away: /closed with 1006/,
  says: /sum.*6/,
  hook: /CLEANED SIGTERM/,
};
