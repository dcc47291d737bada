'use strict';

module.exports = {
  versions: { nitropack: '2.13.6' },
  build: [['nitropack', 'build']],
  main: '.output/server/index.mjs',
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'nitro.config.js': "export default { preset: 'node-server', srcDir: 'server', compatibilityDate: '2026-01-01' };",
    'server/routes/index.js': 'export default defineEventHandler((event) => ({ hello: getQuery(event).name }));',
    'server/plugins/end.js': `
      export default defineNitroPlugin((nitro) => {
        nitro.hooks.hook('close', () => console.log('CLEANED'));
      });`,
  },
  ask: async ({ get }) => [await get('/?name=you'), (await get('/nowhere')).status],
  says: /hello.*you.*404/,
  hook: /CLEANED/,
};
