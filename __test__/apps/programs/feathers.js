'use strict';

module.exports = {
  versions: { '@feathersjs/feathers': '5.0.50', '@feathersjs/koa': '5.0.50' },
  files: {
    'server.js': `
      const { feathers } = require('@feathersjs/feathers');
      const { bodyParser, errorHandler, koa, parseAuthentication, rest } = require('@feathersjs/koa');
      const app = koa(feathers());
      app.use(errorHandler());
      app.use(parseAuthentication());
      app.use(bodyParser());
      app.configure(rest());
      app.use('greetings', {
        setup: async () => console.log('SET UP'),
        teardown: async () => console.log('CLEANED'),
        get: async (name) => ({ hello: name }),
        create: async (data) => data,
      });
      app.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', async () => {
        await app.teardown();
        process.exit(0);
      });`,
  },
  ask: async ({ get, post }) => [await get('/greetings/you'), await post('/greetings', { a: 1 }), await get('/no')],
  says: /hello.*you.*201.*404/,
  hook: /CLEANED/,
};
