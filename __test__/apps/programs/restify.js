'use strict';

module.exports = {
  versions: { restify: '12.0.0' },
  node: 22,
  files: {
    'server.js': `
      const restify = require('restify');
      const server = restify.createServer();
      server.use(restify.plugins.bodyParser());
      server.get('/:name', async (request, response) => response.send({ hello: request.params.name }));
      server.post('/', async (request, response) => response.send(201, request.body));
      server.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => server.close(() => console.log('CLEANED')));`,
  },
  varies: ['request-id', 'response-time'],
  ask: async ({ get, post }) => [await get('/you'), await post('/', { a: 1 })],
  says: /hello.*you.*201/,
  hook: /CLEANED/,
};
