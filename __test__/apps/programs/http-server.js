'use strict';

module.exports = {
  versions: { 'http-server': '14.1.1' },
  bin: 'http-server',
  files: { 'public/index.html': '<h1>hello</h1>\n', 'public/a.json': '{"a":1}\n' },
  args: ({ port, host }) => ['public', '-p', String(port), '-a', host],
  ask: async ({ get }) => [await get('/'), await get('/a.json'), await get('/nowhere')],
  says: /hello.*404/,
  hook: /http-server stopped/,
};
