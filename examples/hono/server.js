'use strict';

// A Hono application on Node.js, through its own adapter. PORT (3000) says where.

const { createAdaptorServer } = require('@hono/node-server');
const { Hono } = require('hono');
const { createServer } = require('drover');

const hono = new Hono();

hono.get('/', (context) => context.json({ hello: 'from Hono', worker: process.env.WORKER_ID, pid: process.pid }));

const app = createServer({ app: createAdaptorServer(hono), cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Hono serves on http://localhost:${app.address().port}`);
});
