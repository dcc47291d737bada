'use strict';

const path = require('node:path');

// Its standalone output, as its Dockerfile runs it. The output repeats the path from the packages to the program.
module.exports = {
  versions: { next: '16.4.6', react: '19.3.1', 'react-dom': '19.3.1' },
  node: 22,
  build: [['next', 'build']],
  main: (folder) => path.join('.next', 'standalone', 'programs', path.basename(folder), 'server.js'),
  files: {
    'package.json': '{ "private": true }',
    'next.config.js': `
      const path = require('node:path');
      const root = path.join(__dirname, '..', '..');
      module.exports = { output: 'standalone', outputFileTracingRoot: root, turbopack: { root } };`,
    'instrumentation.js': `
      export function register() {
        if (process.env.NEXT_RUNTIME === 'nodejs') process.on('exit', (code) => console.log('CLEANED', code));
      }`,
    'app/layout.js': 'export default ({ children }) => <html><body>{children}</body></html>;',
    'app/page.js': 'export default () => <h1>hello</h1>;',
    'app/you/page.js': `
      export const dynamic = 'force-dynamic';
      export default async ({ searchParams }) => <p>hello {(await searchParams).name}</p>;`,
    'app/api/route.js': `
      export const GET = (request) => Response.json({ hello: request.nextUrl.searchParams.get('name') });
      export const POST = async (request) => Response.json({ sum: (await request.json()).reduce((a, b) => a + b, 0) });`,
  },
  env: ({ host }) => ({ HOSTNAME: host }),
  ask: async ({ get, post }) => [await get('/'), await get('/you?name=you'), await get('/api?name=you'), await post('/api', [1, 2, 3]), (await get('/nowhere')).status],
  says: /hello.*hello.*you.*sum.*6.*404/,
  hook: /CLEANED/,
};
