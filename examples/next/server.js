'use strict';

// `next start` in every worker, with one cache for all of them (cache-handler.js). PORT sets the port (3000).
// Before: npm install next react react-dom && npx next build

const { ClusterManager } = require('drover');

const port = process.env.PORT ?? '3000';

const cluster = new ClusterManager({
  exec: require.resolve('next/dist/bin/next'),
  args: ['start', __dirname, '--port', port],
});

cluster.start().then(() => console.log(`Next.js serves on http://localhost:${port}`));
