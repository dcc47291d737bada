'use strict';

module.exports = {
  versions: { 'graphql-ws': '6.4.2', graphql: '16.12.0', ws: '8.23.0' },
  files: {
    'server.js': `
      const { buildSchema } = require('graphql');
      const { WebSocketServer } = require('ws');
      const { useServer } = require('graphql-ws/use/ws');
      const schema = buildSchema('type Query { hello: String } type Subscription { count: Int }');
      const server = new WebSocketServer({ port: Number(process.env.PORT), host: process.env.HOST, path: '/graphql' });
      const roots = {
        query: { hello: 'hello' },
        subscription: {
          async *count() {
            for (let count = 1; count <= 3; count += 1) yield { count };
          },
        },
      };
      const cleaner = useServer({ schema, roots }, server);
      process.on('SIGTERM', async () => {
        await cleaner.dispose();
        console.log('CLEANED');
        process.exit(0);
      });`,
  },
  client: ({ require, port }) => {
    const { createClient } = require('graphql-ws');
    const client = createClient({ url: `ws://127.0.0.1:${port}/graphql`, webSocketImpl: require('ws'), onNonLazyError: () => undefined, lazy: false });
    const results = async (query) => {
      const all = [];
      for await (const { data } of client.iterate({ query })) all.push(data);
      return all;
    };
    const ask = async () => [await results('{ hello }'), await results('subscription { count }')];
    // A client whose last connection was refused says so once more; there is nothing left to close then.
    const close = () => Promise.resolve(client.dispose()).catch(() => undefined);
    return { ask, close };
  },
  says: /hello.*count.*3/,
  hook: /CLEANED/,
};
