'use strict';

// npm run test:matrix: every kind of server, handoff, rolls, drains, every way to hang, and what depends on Node's internals,
// on every supported Node.js.
// `npm run test:matrix -- 22 24` runs only these majors. The binaries are installed from npm and kept in .cache/nodes.

const path = require('node:path');
const { MAJORS, findNode } = require('../__test__/helpers/nodes');
const { build } = require('./build');
const { endChildrenOnSignals, root, run } = require('./support/child');
const { install } = require('./support/install');
const { runSteps } = require('./support/steps');
const { main, say } = require('./support/terminal');

const names = [
  'child-process',
  'datagram',
  'drain-order',
  'fixtures',
  'frameworks',
  'handed-over',
  'handoff',
  'health',
  'hung',
  'listen',
  'listen-options',
  'log-records',
  'moving',
  'own-servers',
  'program-signals',
  'response-bytes',
  'rolling',
  'tickets',
  'traffic',
];
const files = names.map((name) => path.join(root, '__test__', `${name}.test.js`));

async function testOn(major) {
  const node = await findNode(major);
  say(`${node.version} (${path.relative(root, node.path)})`);
  const { code } = await run(node.path, ['--test', '--test-concurrency=1', '--test-timeout=180000', ...files]);
  return code === 0;
}

endChildrenOnSignals();

main(async () => {
  const wanted = process.argv.slice(2).map(Number);
  await install();
  await build();
  return runSteps(
    (wanted.length > 0 ? wanted : MAJORS).map((major) => ({ name: `Node.js ${major}`, run: () => testOn(major) })),
  );
});
