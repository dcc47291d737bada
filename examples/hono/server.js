'use strict';

// A Hono application, clustered without changes. On Node.js its package @hono/node-server has to be installed too. PORT
// sets the port (3000).

const { Hono } = require('hono');
const { createServer } = require('drover');

const hono = new Hono();

hono.get('/', (context) => context.json({ hello: 'from Hono', worker: process.env.WORKER_ID, pid: process.pid }));

const app = createServer({ app: hono, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Hono serves on http://localhost:${app.address().port}`);
});
