'use strict';

// Node's own http server, without a framework. PORT sets the port (3000).

const { createServer } = require('drover');

function handle(request, response) {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ hello: 'from node:http', worker: process.env.WORKER_ID, pid: process.pid }));
}

const app = createServer({ app: handle, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`node:http serves on http://localhost:${app.address().port}`);
});
