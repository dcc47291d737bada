'use strict';

// It handles no signal and says nothing at its end: there is no hook.
module.exports = {
  versions: { 'json-server': '0.17.4' },
  bin: 'json-server',
  files: { 'db.json': '{ "posts": [{ "id": 1, "title": "hello" }], "profile": { "name": "you" } }\n' },
  args: ({ port, host }) => ['--port', String(port), '--host', host, '--quiet', 'db.json'],
  ask: async ({ get }) => [await get('/posts?title=hello'), await get('/profile'), await get('/posts/2')],
  says: /hello.*you.*404/,
};
