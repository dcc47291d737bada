'use strict';

module.exports = {
  versions: { moleculer: '0.15.2', 'moleculer-web': '0.11.0' },
  node: 22,
  files: {
    'server.js': `
      const { ServiceBroker } = require('moleculer');
      const ApiService = require('moleculer-web');
      const broker = new ServiceBroker({ logger: { type: 'Console', options: { level: 'warn' } } });
      broker.createService({
        name: 'greeter',
        actions: { hello: ({ params }) => ({ hello: params.name }), echo: ({ params }) => params },
        stopped: () => console.log('CLEANED'),
      });
      broker.createService({
        mixins: [ApiService.default ?? ApiService],
        settings: { port: Number(process.env.PORT), ip: process.env.HOST, routes: [{ path: '/api', bodyParsers: { json: true } }] },
      });
      broker.start();`,
  },
  varies: ['x-request-id'],
  ask: async ({ get, post }) => [await get('/api/greeter/hello?name=you'), await post('/api/greeter/echo', { a: 1 }), await get('/api/no')],
  says: /hello.*you.*404/,
  hook: /CLEANED/,
};
