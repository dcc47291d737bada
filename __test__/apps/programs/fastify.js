'use strict';

module.exports = {
  versions: { fastify: '5.12.8' },
  files: {
    'server.js': `
      const fastify = require('fastify')();
      fastify.get('/', async ({ query }) => ({ hello: query.name }));
      fastify.post('/sum', { schema: { body: { type: 'array', items: { type: 'number' } } } }, async ({ body }) => ({
        sum: body.reduce((a, b) => a + b, 0),
      }));
      fastify.addHook('onClose', async () => console.log('CLEANED'));
      process.on('SIGTERM', () => fastify.close());
      fastify.listen({ port: Number(process.env.PORT), host: process.env.HOST });`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/sum', [1, 2, 3]), await post('/sum', ['a'])],
  says: /hello.*you.*sum.*6.*400/,
  hook: /CLEANED/,
};
