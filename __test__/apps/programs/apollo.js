'use strict';

module.exports = {
  versions: { '@apollo/server': '5.5.1', graphql: '16.12.0' },
  main: 'server.mjs',
  files: {
    'server.mjs': `
      import { ApolloServer } from '@apollo/server';
      import { startStandaloneServer } from '@apollo/server/standalone';
      const server = new ApolloServer({
        typeDefs: 'type Query { hello(name: String): String }',
        resolvers: { Query: { hello: (_, { name }) => 'hello ' + name } },
        plugins: [{ serverWillStart: async () => ({ serverWillStop: async () => console.log('CLEANED') }) }],
      });
      await startStandaloneServer(server, { listen: { port: Number(process.env.PORT), host: process.env.HOST } });`,
  },
  ask: async ({ post }) => [await post('/', { query: '{ hello(name: "you") }' }), await post('/', { query: '{ nothing }' })],
  says: /hello you.*400/,
  hook: /CLEANED/,
};
