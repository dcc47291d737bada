'use strict';

// A Fastify application, clustered without changes. PORT sets the port (3000).

const fastify = require('fastify')();
const { createServer } = require('drover');

fastify.get('/', async () => ({ hello: 'from Fastify', worker: process.env.WORKER_ID, pid: process.pid }));

const app = createServer({ app: fastify, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Fastify serves on http://localhost:${app.address().port}`);
});
