'use strict';

// At a unix socket: `serve` takes another port when something answers at the one that it was given, as the workers that
// it is to replace do.
module.exports = {
  versions: { serve: '14.2.7' },
  bin: 'serve',
  files: { 'public/index.html': '<h1>hello</h1>\n', 'public/a.json': '{"a":1}\n' },
  args: ({ socketPath }) => ['--no-clipboard', '--no-request-logging', '-l', `unix:${socketPath}`, 'public'],
  socket: true,
  ask: async ({ get }) => [await get('/'), await get('/a.json'), await get('/nowhere')],
  says: /hello.*404/,
  hook: /Gracefully shutting down/,
};
