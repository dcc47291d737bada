'use strict';

const next = require('./next');

// `next start`: its command line is the workers' program, because it serves in its own process.
module.exports = {
  versions: next.versions,
  node: next.node,
  build: next.build,
  bin: 'next',
  files: {
    ...next.files,
    'next.config.js': `
      const path = require('node:path');
      module.exports = { turbopack: { root: path.join(__dirname, '..', '..') } };`,
  },
  args: ({ port, host }) => ['start', '--port', String(port), '--hostname', host],
  ask: next.ask,
  says: next.says,
  hook: next.hook,
};
