'use strict';

module.exports = {
  versions: { '@trpc/server': '11.25.2', '@trpc/client': '11.25.2', zod: '4.3.6', typescript: '5.9.3', undici: '7.16.0' },
  files: {
    'server.js': `
      const { initTRPC } = require('@trpc/server');
      const { createHTTPServer } = require('@trpc/server/adapters/standalone');
      const { z } = require('zod');
      const t = initTRPC.create();
      const router = t.router({
        hello: t.procedure.input(z.string()).query(({ input }) => 'hello ' + input),
        add: t.procedure.input(z.array(z.number())).mutation(({ input }) => input.reduce((a, b) => a + b)),
      });
      const server = createHTTPServer({ router }).listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => server.close(() => console.log('CLEANED')));`,
  },
  client: ({ require, port }) => {
    const { createTRPCClient, httpBatchLink } = require('@trpc/client');
    const { Agent, fetch } = require('undici');
    const dispatcher = new Agent();
    const link = httpBatchLink({ url: `http://127.0.0.1:${port}`, fetch: (url, options) => fetch(url, { ...options, dispatcher }) });
    const client = createTRPCClient({ links: [link] });
    return {
      ask: () => Promise.all([client.hello.query('you'), client.add.mutate([1, 2, 3])]),
      close: () => dispatcher.close(),
    };
  },
  says: /hello you.*6/,
  hook: /CLEANED/,
};
