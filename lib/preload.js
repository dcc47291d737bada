// @ts-check
'use strict';

// Runs in every worker before the user's script (--require), and makes the process a worker. In a grandchild, a worker
// thread or any other process it does nothing.

const { isMainThread } = require('node:worker_threads');

/**
 * The package's exports; null while they are being loaded, which happens when a program has cleared the module cache.
 */
function loadPackage() {
  const file = require.resolve('../index.js');
  const cached = require.cache[file];
  // The package sets its exports at its end. (`loaded` is true from the beginning under Bun.)
  const isBegun = cached !== undefined && Object.keys(cached.exports).length === 0;
  return isBegun ? null : require(file);
}

if (isMainThread) {
  const primary = process.env.DROVER_CHANNEL;
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('DROVER_')) delete process.env[name];
  }
  if (primary !== undefined) {
    // A child that the user's program forks inherits execArgv; it is not a worker.
    const own = process.execArgv.indexOf(__filename);
    if (own > 0) process.execArgv.splice(own - 1, 2);
    // A replacement uses the compile cache of its predecessors (Node.js 22.8 and later; NODE_COMPILE_CACHE sets the
    // folder, NODE_DISABLE_COMPILE_CACHE disables it).
    if (process.env.NODE_V8_COVERAGE === undefined) require('node:module').enableCompileCache?.();
    require('./worker/attach').attach(Number(primary), loadPackage);
  }
}
