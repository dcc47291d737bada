'use strict';

// Workers that speak with each other: a counter that all know of, and work that one of them does.
//
//   node examples/messages/server.js
//   curl http://localhost:3000/

const { createServer } = require('drover');

const port = Number(process.env.PORT ?? 3000);
const app = createServer({ cluster: { enabled: true, config: { ipc: { encryption: true } } } });

let visits = 0;

// Every worker hears of each visit, and so all know the same number.
app.onMessage('visit', () => {
  visits += 1;
});

app.get('/', async (_request, response) => {
  await app.broadcastToWorkers('visit', null, { self: true });
  response.send(`Visit ${visits}, says worker ${app.workerId} (pid ${process.pid})\n`);
});

// Who leads does what must be done once for all.
app.onLeader(() => {
  setInterval(() => app.runOnce('report', () => console.log(`${visits} visits so far`)), 60_000).unref();
});

app.start(port).then(() => {
  if (app.isPrimary) console.log(`Counting visits on http://localhost:${port}`);
});
