'use strict';

// npm start: from a fresh clone to a cluster that serves the main example. PORT sets the port (3000).

const path = require('node:path');
const { build } = require('./build');
const { endChildrenOnSignals, root, run } = require('./support/child');
const { install } = require('./support/install');
const { headline, main } = require('./support/terminal');

const server = path.join('examples', 'express', 'server.js');

// The cluster may use all of the 30 s of its graceful shutdown before it is killed.
endChildrenOnSignals({ patience: 35_000, exitCode: 0 });

main(async () => {
  await install();
  await build();
  const port = process.env.PORT ?? '3000';
  headline(`node ${server} (PORT=${port})`);
  const { code } = await run(process.execPath, [path.join(root, server)], { env: { ...process.env, PORT: port } });
  return code ?? 1;
});
