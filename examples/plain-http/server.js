'use strict';

// Node's own http server, no framework at all. PORT (3000) says where.

const { createServer } = require('drover');

function answer(request, response) {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ hello: 'from node:http', worker: process.env.WORKER_ID, pid: process.pid }));
}

const app = createServer({ app: answer, cluster: { enabled: true } });

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`node:http serves on http://localhost:${app.address().port}`);
});
