'use strict';

// Signal and error handlers of the program: they run in the primary and in every worker, and replace drover's. In a
// worker `stopCluster()` drains that worker only. PORT sets the port (3000).

const { createServer } = require('drover');

const app = createServer({ cluster: { enabled: true } });

app.get('/', (request, response) => {
  response.json({ worker: app.workerId, pid: process.pid });
});

app.get('/crash', (request, response) => {
  response.send('This worker ends and another takes its place.\n');
  setImmediate(() => {
    throw new Error('an uncaught bug');
  });
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, async () => {
    console.log(`Received ${signal}, shutting down gracefully`);
    await app.stopCluster(true);
    process.exit(0);
  });
}

process.on('uncaughtException', (error) => {
  console.error('Uncaught exception:', error);
  app.stopCluster(true).then(() => process.exit(1));
});

process.on('unhandledRejection', (reason) => {
  console.error('Unhandled rejection:', reason);
  app.stopCluster(true).then(() => process.exit(1));
});

app.start(process.env.PORT ?? 3000).then(() => {
  if (app.isPrimary) console.log(`Stop me with Ctrl-C on http://localhost:${app.address().port}`);
});
