'use strict';

module.exports = {
  versions: {
    '@sveltejs/kit': '3.2.0',
    '@sveltejs/adapter-node': '6.0.1',
    '@sveltejs/vite-plugin-svelte': '7.3.1',
    svelte: '5.57.3',
    vite: '8.4.0',
  },
  node: 22,
  build: [['vite', 'build']],
  main: 'build/index.js',
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'vite.config.js': `
      import adapter from '@sveltejs/adapter-node';
      import { sveltekit } from '@sveltejs/kit/vite';
      export default { plugins: [sveltekit({ adapter: adapter() })] };`,
    'src/app.html': '<html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>',
    'src/routes/+page.svelte': '<h1>hello</h1>',
    'src/routes/api/+server.js': "export const GET = ({ url }) => new Response('hello ' + url.searchParams.get('name'));",
    'src/hooks.server.js': "process.on('sveltekit:shutdown', (reason) => console.log('CLEANED', reason));",
  },
  ask: async ({ get }) => [await get('/'), await get('/api?name=you'), (await get('/nowhere')).status],
  says: /hello.*hello you.*404/,
  hook: /CLEANED SIGTERM/,
};
