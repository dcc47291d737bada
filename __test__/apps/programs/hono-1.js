'use strict';

module.exports = {
  versions: { hono: '4.13.19', '@hono/node-server': '1.19.19' },
  main: 'server.mjs',
  files: {
    'server.mjs': `
      import { serve } from '@hono/node-server';
      import { Hono } from 'hono';
      const app = new Hono()
        .get('/', (c) => c.json({ hello: c.req.query('name') }))
        .post('/', async (c) => c.text(await c.req.text(), 201));
      const server = serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: process.env.HOST });
      process.on('SIGTERM', () => server.close((error) => {
        console.log(error ? error.code : 'CLEANED');
        process.exit(error ? 1 : 0);
      }));`,
  },
  ask: async ({ get, post }) => [await get('/?name=you'), await post('/', 'echo')],
  says: /hello.*you.*echo/,
  hook: /CLEANED/,
};
