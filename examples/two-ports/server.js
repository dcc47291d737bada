'use strict';

// A public port and one for operators, both shared by all workers: every `listen()` in a worker joins the cluster. PORT
// (3000) and ADMIN_PORT (3001) set the ports.

const http = require('node:http');
const { createServer } = require('drover');

const adminPort = process.env.ADMIN_PORT ?? 3001;

const app = createServer({ cluster: { enabled: true } });

app.get('/', (request, response) => {
  response.json({ hello: 'from the public port', worker: app.workerId, pid: process.pid });
});

if (app.isWorker) {
  const admin = http.createServer((request, response) => {
    response.end(JSON.stringify({ hello: 'from the admin port', worker: app.workerId, pid: process.pid }));
  });
  admin.listen(adminPort);
}

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) {
    console.log(`The public port serves on http://localhost:${app.address().port}`);
    console.log(`The admin port serves on http://localhost:${adminPort}`);
  }
});
