'use strict';

// Its server handles no signal and says nothing at its end: there is no hook.
module.exports = {
  versions: { astro: '7.3.5', '@astrojs/node': '11.1.6' },
  node: 22,
  build: [['astro', 'build']],
  main: 'dist/server/entry.mjs',
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'astro.config.mjs': `
      import node from '@astrojs/node';
      export default { output: 'server', adapter: node({ mode: 'standalone' }), telemetry: false };`,
    'src/pages/index.astro': "---\nconst name = Astro.url.searchParams.get('name');\n---\n<h1>hello {name}</h1>\n",
    'src/pages/static.astro': '---\nexport const prerender = true;\n---\n<h1>static</h1>\n',
    'src/pages/sum.js': 'export const POST = async ({ request }) => Response.json({ sum: (await request.json()).reduce((a, b) => a + b, 0) });',
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await get('/static'), await post('/sum', [1, 2, 3]), (await get('/nowhere')).status],
  says: /hello you.*static.*sum.*6.*404/,
};
