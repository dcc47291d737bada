'use strict';

module.exports = {
  versions: { '@loopback/rest': '15.0.16', '@loopback/core': '7.0.15' },
  files: {
    'server.js': `
      const { RestApplication } = require('@loopback/rest');
      const app = new RestApplication({ rest: { port: Number(process.env.PORT), host: process.env.HOST } });
      const greet = { responses: {}, parameters: [{ name: 'name', in: 'query', schema: { type: 'string' } }] };
      app.route('get', '/hello', greet, (name) => ({ hello: name }));
      app.onStop(() => console.log('CLEANED'));
      app.start();`,
  },
  ask: async ({ get }) => [await get('/hello?name=you'), await get('/nowhere')],
  says: /hello.*you.*404/,
  hook: /CLEANED/,
};
