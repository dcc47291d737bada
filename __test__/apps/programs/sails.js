'use strict';

module.exports = {
  versions: { sails: '1.5.18' },
  files: {
    'app.js': `
      const sails = require('sails');
      process.chdir(__dirname);
      sails.lift({
        port: Number(process.env.PORT),
        explicitHost: process.env.HOST,
        environment: 'development',
        hooks: { grunt: false, pubsub: false, sockets: false, session: false, views: false, i18n: false },
        security: { csrf: false },
        log: { level: 'warn', noShip: true },
        routes: { 'GET /hello': (request, response) => response.json({ hello: request.query.name }), 'POST /echo': (request, response) => response.json(request.body) },
      });
      sails.on('lower', () => console.log('CLEANED'));`,
  },
  main: 'app.js',
  ask: async ({ get, post }) => [await get('/hello?name=you'), await post('/echo', { a: 1 }), (await get('/nowhere')).status],
  says: /hello.*you.*404/,
  hook: /CLEANED/,
};
