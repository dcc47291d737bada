'use strict';

// An Express application on every core: the main example, which `npm start` runs. PORT sets the port (3000).

const { createServer } = require('drover');
const { page, portIsTaken, welcome } = require('./words');

const app = createServer({
  cluster: {
    enabled: true,
    config: {
      workers: 'auto',
      loadBalancing: { strategy: 'round-robin' },
      processManagement: { gracefulShutdownTimeout: '10s' },
    },
  },
});

app.get('/', (request, response) => {
  response.type('text').send(page(app.workerId));
});

app.get('/api/status', (request, response) => {
  response.json({ message: 'running', worker: process.pid, uptime: process.uptime() });
});

// Long enough to stop the cluster, or kill another worker, while it is in flight.
app.get('/slow', (request, response) => {
  setTimeout(() => response.json({ message: 'done', worker: process.pid }), 2000);
});

// Blocks this worker's event loop: meanwhile the others take the new connections.
app.get('/busy', (request, response) => {
  const until = performance.now() + 1000;
  while (performance.now() < until);
  response.json({ message: 'back', worker: process.pid });
});

app.start(process.env.PORT ?? 3000).then(
  () => {
    if (app.isPrimary) console.log(welcome(app));
  },
  (error) => {
    if (!app.isPrimary || error.code !== 'EADDRINUSE') throw error;
    console.error(portIsTaken(error));
    process.exitCode = 1;
  },
);
