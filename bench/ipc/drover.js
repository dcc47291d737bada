'use strict';

// drover: the same over its own channels. node drover.js '{ "encryption": true, ... }'

const http = require('node:http');
const { createServer } = require('../..');
const { flood, measure, processorTime } = require('./work');

const asked = JSON.parse(process.argv[2]);
const app = createServer({
  app: http.createServer(),
  cluster: {
    enabled: true,
    config: {
      workers: asked.workers,
      logging: { level: 'error' },
      processManagement: { ready: 'boot' },
      ipc: { encryption: asked.encryption, serialization: asked.serialization, maxMessageSize: '16MB' },
    },
  },
});

if (app.isWorker) {
  app.onMessage('ask', (data) => data);
  app.onMessage('flood', ({ size, count }) => void flood((message) => process.send(message), size, count));
  app.onMessage('processorTime', processorTime);
  // A worker without a server lives as long as it waits for messages.
  process.on('message', () => {});
} else {
  let heard = () => {};
  app.cluster.on('message', (_, message) => heard(message));
  const ask = (worker, data) => app.sendToWorker(worker, 'ask', data);
  const broadcast = (data) => app.broadcastToWorkers('ask', data);
  const receive = (size, count) =>
    new Promise((resolve) => {
      let left = count;
      heard = () => --left === 0 && resolve();
      app.sendToWorker(0, 'flood', { size, count });
    });
  const spent = async () => {
    const answers = await app.broadcastToWorkers('processorTime');
    return { primary: processorTime(), workers: answers.reduce((sum, { data }) => sum + data, 0) };
  };
  app.cluster.start().then(async () => {
    console.log(JSON.stringify(await measure({ ask, broadcast, receive, spent }, asked)));
    await app.stopCluster(false);
    process.exit(0);
  });
}
