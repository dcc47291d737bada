'use strict';

const { Resolver } = require('node:dns').promises;

module.exports = {
  versions: { dns2: '3.1.1' },
  node: 22,
  files: {
    'server.js': `
      const { createServer, Packet } = require('dns2');
      const server = createServer({
        udp: true,
        tcp: true,
        handle: (request, send) => {
          const response = Packet.createResponseFromRequest(request);
          const [{ name }] = request.questions;
          response.answers.push({ name, type: Packet.TYPE.A, class: Packet.CLASS.IN, ttl: 300, address: '192.0.2.' + name.length });
          send(response);
        },
      });
      const at = { port: Number(process.env.PORT), address: process.env.HOST };
      server.listen({ udp: at, tcp: at });
      process.on('SIGTERM', async () => {
        await server.close();
        console.log('CLEANED');
      });`,
  },
  client: ({ port }) => {
    // One datagram a question: an answer that is lost fails it.
    const resolver = new Resolver({ timeout: 10_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${port}`]);
    return { ask: () => resolver.resolve4('example.com'), close: () => undefined };
  },
  says: /192\.0\.2\.11/,
  hook: /CLEANED/,
};
