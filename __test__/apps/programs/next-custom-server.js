'use strict';

const nextStart = require('./next-start');

// A server of the program's own, as Next.js documents it.
module.exports = {
  versions: nextStart.versions,
  node: nextStart.node,
  build: nextStart.build,
  files: {
    ...nextStart.files,
    'server.js': `
      const { createServer } = require('node:http');
      const next = require('next');
      const [hostname, port] = [process.env.HOST, Number(process.env.PORT)];
      const app = next({ dev: false, hostname, port, dir: __dirname });
      const handle = app.getRequestHandler();
      app.prepare().then(() => {
        const server = createServer((request, response) => handle(request, response));
        server.listen(port, hostname);
        process.on('SIGTERM', () => server.close(async () => {
          await app.close();
          process.exit(0);
        }));
      });`,
  },
  ask: nextStart.ask,
  says: nextStart.says,
  hook: nextStart.hook,
};
