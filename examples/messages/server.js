'use strict';

// Messages between workers: a shared counter, and a task that runs in one worker only.
//
//   node examples/messages/server.js
//   curl http://localhost:3000/

const { createServer } = require('drover');

const port = Number(process.env.PORT ?? 3000);
const app = createServer({ cluster: { enabled: true, config: { ipc: { encryption: true } } } });

let visits = 0;

// Every worker receives each visit, so all have the same count.
app.onMessage('visit', () => {
  visits += 1;
});

app.get('/', async (_request, response) => {
  await app.broadcastToWorkers('visit', null, { self: true });
  response.send(`Visit ${visits}, says worker ${app.workerId} (pid ${process.pid})\n`);
});

// The leader runs tasks that must not run in every worker.
app.onLeader(() => {
  setInterval(() => app.runOnce('report', () => console.log(`${visits} visits so far`)), 60_000).unref();
});

app.start(port).then(() => {
  if (app.isPrimary) console.log(`Counting visits on http://localhost:${port}`);
});
