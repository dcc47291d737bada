'use strict';

// Its handler of SIGTERM closes the server and prints an empty line: there is no hook that can be told from other output.
module.exports = {
  versions: {
    '@react-router/dev': '8.4.0',
    '@react-router/node': '8.4.0',
    '@react-router/serve': '8.4.0',
    'react-router': '8.4.0',
    react: '19.3.1',
    'react-dom': '19.3.1',
    isbot: '5.2.3',
    vite: '8.4.0',
  },
  node: 22,
  build: [['react-router', 'build']],
  bin: 'react-router-serve',
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'vite.config.js': "import { reactRouter } from '@react-router/dev/vite';\nexport default { plugins: [reactRouter()] };",
    'react-router.config.js': 'export default { ssr: true };',
    'app/root.jsx': `
      import { Outlet, Scripts } from 'react-router';
      export default () => <html><head /><body><Outlet /><Scripts /></body></html>;`,
    'app/routes.js': "import { index, route } from '@react-router/dev/routes';\nexport default [index('home.jsx'), route('sum', 'sum.js')];",
    'app/home.jsx': `
      export const loader = ({ request }) => new URL(request.url).searchParams.get('name');
      export default ({ loaderData }) => <h1>hello {loaderData}</h1>;`,
    'app/sum.js': 'export const action = async ({ request }) => Response.json({ sum: (await request.json()).reduce((a, b) => a + b, 0) });',
  },
  args: () => ['./build/server/index.js'],
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/sum', [1, 2, 3]), (await get('/nowhere')).status],
  says: /hello.*you.*sum.*6.*404/,
};
