'use strict';

module.exports = {
  versions: { nuxt: '4.5.2', vue: '3.5.45' },
  node: 22,
  build: [['nuxt', 'build']],
  main: '.output/server/index.mjs',
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'nuxt.config.js': "export default { telemetry: false, compatibilityDate: '2026-01-01', nitro: { preset: 'node-server' } };",
    'app/app.vue': '<template><h1>hello {{ useRoute().query.name }}</h1></template>',
    'server/api/sum.post.js': 'export default defineEventHandler(async (event) => ({ sum: (await readBody(event)).reduce((a, b) => a + b, 0) }));',
    'server/plugins/end.js': `
      export default defineNitroPlugin((nitro) => {
        nitro.hooks.hook('close', () => console.log('CLEANED'));
      });`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/api/sum', [1, 2, 3])],
  says: /hello you.*sum.*6/,
  hook: /CLEANED/,
};
