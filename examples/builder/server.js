'use strict';

// A cluster built step by step around any program that listens: no application object is needed.
// PORT sets the port (3000).

const http = require('node:http');
const { buildCluster } = require('drover/cluster');

process.env.PORT ??= '3000';

if (process.env.CLUSTER_WORKER === 'true') {
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify({ worker: process.env.WORKER_ID, pid: process.pid }));
  });
  server.listen(process.env.PORT);
} else {
  const cluster = buildCluster()
    .withWorkers('auto')
    .withLoadBalancing('least-connections')
    .enableProductionMode()
    .create();

  cluster.on('worker:ready', ({ workerId, pid }) => console.log(`Worker ${workerId} is ready, pid ${pid}`));

  cluster.start().then(() => console.log(`The cluster serves on http://localhost:${process.env.PORT}`));
}
