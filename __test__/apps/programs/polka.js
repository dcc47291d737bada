'use strict';

module.exports = {
  versions: { polka: '0.5.2' },
  files: {
    'server.js': `
      const polka = require('polka');
      const app = polka().get('/:name', (request, response) => response.end('hello ' + request.params.name));
      app.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => app.server.close(() => console.log('CLEANED')));`,
  },
  ask: async ({ get }) => [await get('/you'), await get('/no/where')],
  says: /hello you.*404/,
  hook: /CLEANED/,
};
