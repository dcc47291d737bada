'use strict';

module.exports = {
  versions: { '@hapi/hapi': '21.4.10' },
  files: {
    'server.js': `
      const Hapi = require('@hapi/hapi');
      const server = Hapi.server({ port: process.env.PORT, host: process.env.HOST });
      server.route({ method: 'GET', path: '/{name}', handler: ({ params }) => ({ hello: params.name }) });
      server.route({ method: 'POST', path: '/', handler: ({ payload }) => payload });
      server.ext('onPostStop', () => console.log('CLEANED'));
      process.on('SIGTERM', async () => {
        await server.stop({ timeout: 5000 });
        process.exit(0);
      });
      server.start();`,
  },
  ask: async ({ get, post }) => [await get('/you'), await post('/', { a: 1 })],
  says: /hello.*you.*a\W+1/,
  hook: /CLEANED/,
};
