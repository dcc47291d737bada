'use strict';

// A cluster that scales by its requests in flight; each takes 50 ms. CLUSTER_CONFIG: a ClusterConfig. `ready` and each
// new number of workers are printed; `scale <count>` on standard input scales by hand.

const http = require('node:http');
const { createServer } = require('../..');

const app = createServer({
  app: http.createServer((_, response) => setTimeout(() => response.end('done'), 50)),
  cluster: { enabled: true, config: JSON.parse(process.env.CLUSTER_CONFIG) },
});

app.start(Number(process.env.PORT), '127.0.0.1').then(() => {
  if (!app.isPrimary) return;
  app.cluster.on('cluster:scaled', ({ newCount }) => console.log(`workers ${newCount}`));
  process.stdin.setEncoding('utf8').on('data', (text) => {
    const [, count] = text.match(/^scale (\d+)/) ?? [];
    if (count) app.scale(Number(count));
  });
  console.log('ready');
});
