// @ts-check
'use strict';

// The environment of this process and how it was started, as far as the core cannot see it.

const { isMainThread } = require('node:worker_threads');
const path = require('node:path');
const { addon } = require('../native');
const runtime = require('../runtime');

/** Why the runtime cannot run workers; null if it can. @returns {string | null} */
function whyNoWorkers() {
  if (!runtime.acceptsItself) return null;
  return runtime.unsupported ?? addon?.socketsUnsupported() ?? null;
}

/** Why this process starts no workers: the process manager that already runs it as one of several, or its runtime. */
function singleProcessReason() {
  if (whyNoWorkers() !== null) return 'bun';
  // PM2's cluster mode forks its processes with node:cluster.
  if (process.env.NODE_UNIQUE_ID === undefined && !require('node:cluster').isWorker) return undefined;
  return process.env.pm_id === undefined ? 'node-cluster' : 'pm2';
}

/** The current environment variables (dotenv may have added some). @returns {Record<string, string>} */
function snapshot() {
  return /** @type {Record<string, string>} */ ({ ...process.env });
}

/** How this process was started, so that workers can be started in the same way. */
function launching() {
  const { argv, execArgv, execPath } = process;
  // Evaluated code (-e, -p, a REPL, standard input) leaves no script to run again.
  const evaluated = runtime.isEvaluated() || argv[1] === undefined || argv[1] === '-';
  const script = evaluated ? null : runtime.givenScript();
  const preload = path.join(__dirname, '..', 'preload.js');
  return { program: execPath, version: runtime.version, execArgv, script, args: argv.slice(2), preload, standalone: runtime.isStandalone(), folder: workingFolder() };
}

/** The working directory; null if it was removed. */
function workingFolder() {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}

module.exports = { isMainThread, launching, singleProcessReason, snapshot, whyNoWorkers };
