'use strict';

// The program without drover: a worker of node:cluster or of PM2. It ends as PM2's documentation asks: its
// servers close, and it exits when their connections are done.

const { listening, ports, servers } = require('./settings');

const made = servers();

async function main() {
  await Promise.all(Object.entries(ports).map(([name, port]) => listening(made[name], port)));
  process.send?.('ready');
}

process.once('SIGINT', async () => {
  const closed = Object.values(made).map((server) => new Promise((resolve) => server.close(resolve)));
  await Promise.all(closed);
  process.exit(0);
});

main();
