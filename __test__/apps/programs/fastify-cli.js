'use strict';

module.exports = {
  versions: { fastify: '5.12.8', 'fastify-cli': '8.0.2' },
  bin: 'fastify',
  files: {
    'app.js': `
      module.exports = async (fastify, _options) => {
        fastify.get('/', async ({ query }) => ({ hello: query.name }));
        fastify.addHook('onClose', async () => console.log('CLEANED'));
      };`,
  },
  args: ({ port, host }) => ['start', '--port', String(port), '--address', host, 'app.js'],
  ask: async ({ get }) => [await get('/?name=you'), await get('/nowhere')],
  says: /hello.*you.*404/,
  hook: /CLEANED/,
};
