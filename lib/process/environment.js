// @ts-check
'use strict';

// Where this process runs and how it was started: what the core cannot see by itself.

const { isMainThread } = require('node:worker_threads');
const path = require('node:path');

/** The process manager that already runs this process as one of several, if any. */
function outer() {
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
  const evaluated = /** @type {any} */ (process)._eval !== undefined || argv[1] === undefined || argv[1] === '-';
  const script = evaluated ? null : argv[1];
  const preload = path.join(__dirname, '..', 'preload.js');
  const version = process.versions.bun === undefined ? process.versions.node : null;
  return { program: execPath, version, execArgv, script, args: argv.slice(2), preload, folder: workingFolder() };
}

/** Null when it is gone. */
function workingFolder() {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}

/** Node.js up to 20 fills an abstract name up with NULs, which are part of it, and so do its clients. */
const fillsAbstractNames = Number(process.versions.node.split('.')[0]) < 22;
/** Bytes of a unix socket's name (unix(7)). */
const LONGEST_NAME = 108;

/**
 * The name of a unix socket as this runtime's clients ask for it.
 *
 * @param {string} name a path, or with a leading NUL an abstract name
 */
function socketName(name) {
  return fillsAbstractNames && name.startsWith('\0') ? name.padEnd(LONGEST_NAME, '\0') : name;
}

module.exports = { isMainThread, launching, outer, snapshot, socketName };
