'use strict';

module.exports = {
  versions: { koa: '3.3.0' },
  files: {
    'server.js': `
      const Koa = require('koa');
      const app = new Koa();
      app.use(async (context) => {
        context.body = { hello: context.query.name, method: context.method };
      });
      const server = app.listen(Number(process.env.PORT), process.env.HOST);
      process.once('SIGTERM', () => server.close(() => console.log('CLEANED')));`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/', {})],
  says: /hello.*you.*POST/,
  hook: /CLEANED/,
};
