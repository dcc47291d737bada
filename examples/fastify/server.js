'use strict';

// A Fastify application, clustered as it is. PORT (3000) says where.

const fastify = require('fastify')();
const { createServer } = require('drover');

fastify.get('/', async () => ({ hello: 'from Fastify', worker: process.env.WORKER_ID, pid: process.pid }));

const app = createServer({ app: fastify, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Fastify serves on http://localhost:${app.address().port}`);
});
