'use strict';

module.exports = {
  versions: { express: '5.3.0' },
  files: {
    'server.js': `
      const express = require('express');
      const app = express();
      app.use(express.json());
      app.get('/', (request, response) => response.json({ hello: request.query.name }));
      app.post('/sum', (request, response) => response.json({ sum: request.body.reduce((a, b) => a + b, 0) }));
      const server = app.listen(process.env.PORT, process.env.HOST);
      process.on('SIGTERM', () => server.close(() => console.log('CLEANED')));`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/sum', [1, 2, 3]), await get('/nowhere')],
  says: /hello.*you.*sum.*6.*404/,
  hook: /CLEANED/,
};
