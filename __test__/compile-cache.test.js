'use strict';

// Workers run the same code again and again: what one has compiled, the next one reads (Node.js 22.8 and later).

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { findNode } = require('./helpers/nodes');
const { failureCluster, folder } = require('./helpers/program');

/** What a cluster has left in its compile cache when it has served and stopped. */
async function compiled(t, env) {
  const temporary = folder(t);
  const { path: node } = await findNode(24);
  const port = await freePort();
  const cluster = failureCluster(t, { node, port, env: { TMPDIR: temporary, NODE_V8_COVERAGE: undefined, ...env } });
  await cluster.until(/the cluster is ready/);
  assert.equal((await request(port)).status, 200);
  cluster.signal('SIGTERM');
  await cluster.exit;
  const cache = path.join(temporary, 'node-compile-cache');
  return fs.existsSync(cache) ? fs.readdirSync(cache, { recursive: true }) : [];
}

test('workers leave what they have compiled for their replacements', async (t) => {
  // A folder for the version, in it a file for each module.
  assert.ok((await compiled(t, {})).length > 5);
});

test('NODE_DISABLE_COMPILE_CACHE is honoured', async (t) => {
  assert.deepEqual(await compiled(t, { NODE_DISABLE_COMPILE_CACHE: '1' }), []);
});
