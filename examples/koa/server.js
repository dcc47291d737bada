'use strict';

// A Koa application, clustered without changes. PORT sets the port (3000).

const Koa = require('koa');
const { createServer } = require('drover');

const koa = new Koa();

koa.use((context) => {
  context.body = { hello: 'from Koa', worker: process.env.WORKER_ID, pid: process.pid };
});

const app = createServer({ app: koa, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Koa serves on http://localhost:${app.address().port}`);
});
