// @ts-check
'use strict';

// Runs in every worker before the user's script (--require), and makes the process a worker. In a grandchild,
// a worker_thread or any process that is no worker it does nothing.

const { isMainThread } = require('node:worker_threads');

/** What the package gives; null while it is being made, which is when a program has emptied the cache of modules. */
function loadPackage() {
  const file = require.resolve('../index.js');
  return require.cache[file]?.loaded === false ? null : require(file);
}

if (isMainThread) {
  const primary = process.env.DROVER_CHANNEL;
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('DROVER_')) delete process.env[name];
  }
  if (primary !== undefined) {
    // A child that the user's program forks inherits execArgv; it is nobody's worker.
    const own = process.execArgv.indexOf(__filename);
    if (own > 0) process.execArgv.splice(own - 1, 2);
    // A replacement reads what its predecessors have compiled (Node.js 22.8 and later; NODE_COMPILE_CACHE says
    // where, NODE_DISABLE_COMPILE_CACHE that it must not).
    if (process.env.NODE_V8_COVERAGE === undefined) require('node:module').enableCompileCache?.();
    require('./worker/attach').attach(Number(primary), loadPackage);
  }
}
