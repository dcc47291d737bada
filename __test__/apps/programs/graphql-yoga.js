'use strict';

module.exports = {
  versions: { 'graphql-yoga': '5.24.1', graphql: '16.12.0' },
  files: {
    'server.js': `
      const { createServer } = require('node:http');
      const { createSchema, createYoga } = require('graphql-yoga');
      const yoga = createYoga({
        schema: createSchema({
          typeDefs: 'type Query { hello(name: String): String } type Subscription { count(to: Int!): Int }',
          resolvers: {
            Query: { hello: (_, { name }) => 'hello ' + name },
            Subscription: {
              count: {
                async *subscribe(_, { to }) {
                  for (let count = 1; count <= to; count += 1) yield { count };
                },
              },
            },
          },
        }),
        logging: 'error',
      });
      const server = createServer(yoga).listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => server.close(async () => {
        await yoga.dispose();
        console.log('CLEANED');
        process.exit(0);
      }));`,
  },
  ask: async ({ get, post }) => [
    await post('/graphql', { query: '{ hello(name: "you") }' }),
    // Server-sent events.
    await get(`/graphql?query=${encodeURIComponent('subscription { count(to: 3) }')}`, { Accept: 'text/event-stream' }),
  ],
  says: /hello you.*event: next.*count.*3/,
  hook: /CLEANED/,
};
