// @ts-check
'use strict';

// Where this process runs and how it was started: what the core cannot see by itself.

const { isMainThread } = require('node:worker_threads');
const path = require('node:path');
const runtime = require('../runtime');

/** The process manager that already runs this process as one of several, if any. */
function processManager() {
  // PM2's cluster mode makes its processes with node:cluster.
  if (process.env.NODE_UNIQUE_ID === undefined && !require('node:cluster').isWorker) return undefined;
  return process.env.pm_id === undefined ? 'node-cluster' : 'pm2';
}

/** The environment as it is now (dotenv may have filled it). @returns {Record<string, string>} */
function snapshot() {
  return /** @type {Record<string, string>} */ ({ ...process.env });
}

/** How this process was started, so that workers can be started alike. */
function launching() {
  const { argv, execArgv, execPath } = process;
  // Evaluated code (-e, -p, a REPL, standard input) leaves no script to run again.
  const evaluated = runtime.isEvaluated() || argv[1] === undefined || argv[1] === '-';
  const script = evaluated ? null : argv[1];
  const preload = path.join(__dirname, '..', 'preload.js');
  return { program: execPath, version: runtime.version, execArgv, script, args: argv.slice(2), preload, folder: workingFolder() };
}

/** Null when it is gone. */
function workingFolder() {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}

module.exports = { isMainThread, launching, processManager, snapshot };
