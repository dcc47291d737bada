'use strict';

// Runs the commands of the scripts. Each command leads a process group of its own, so that ending it ends
// what it started (rustc under cargo, servers under a test) and Ctrl-C reaches it once, from here alone.

const { spawn } = require('node:child_process');
const path = require('node:path');

const root = path.resolve(__dirname, '..', '..');
const running = new Set();

/** How long a command may take to end after it was asked to, in milliseconds. */
const PATIENCE = 5000;

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // The group is gone: what was asked for has happened already.
    if (error.code !== 'ESRCH') throw error;
  }
}

/**
 * Runs a command to its end, its output on this terminal.
 * Resolves to { code, signal }; rejects only when the command could not be started.
 */
function run(command, args, { cwd = root, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
    running.add(child);
    child.once('error', (error) => {
      running.delete(child);
      reject(error);
    });
    child.once('exit', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
}

/** Passes the first signal of a kind on to whatever runs and exits as a shell would report it. */
function endChildrenOnSignals() {
  for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) {
    process.once(signal, () => {
      const exit = () => process.exit(128 + number);
      if (running.size === 0) exit();
      for (const child of running) {
        child.once('exit', () => running.size === 0 && exit());
        signalGroup(child, 'SIGTERM');
      }
      setTimeout(() => {
        for (const child of running) signalGroup(child, 'SIGKILL');
        exit();
      }, PATIENCE);
    });
  }
}

module.exports = { endChildrenOnSignals, root, run };
