'use strict';

// drover before the program. SOAK_CONFIG is a ClusterConfig as JSON.

const { createServer } = require('../../..');
const { takeCommands } = require('../../servers/commands');
const { host, listening, ports, servers } = require('./settings');

const made = servers();
const app = createServer({
  app: made.http,
  cluster: { enabled: true, config: JSON.parse(process.env.SOAK_CONFIG) },
});

async function main() {
  // The first server that listens makes a worker ready, so the application's is the last.
  if (app.isWorker) {
    await listening(made.https, ports.https);
    await listening(made.websockets, ports.websockets);
  }
  await app.start(ports.http, host);
  if (!app.isPrimary) return;
  takeCommands({
    roll: () => app.restartCluster(),
    scale: ({ to }) => app.scale(to),
    workers: async () => app.getAllWorkers().map(({ pid, detail }) => ({ pid, ready: detail === 'ready' })),
  });
  console.log('ready');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
