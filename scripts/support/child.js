'use strict';

// Runs the commands of the scripts. Each command runs in its own process group, so that its child processes end with it
// (rustc under cargo, servers under a test) and Ctrl-C reaches it once, from here.

const { spawn } = require('node:child_process');
const path = require('node:path');

const root = path.resolve(__dirname, '..', '..');
const running = new Set();

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // The process group has ended already.
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

/**
 * On Ctrl-C and similar signals tells running commands to end, waits for them and exits, with `exitCode` or as a shell
 * reports a signal. A second signal, or `patience` milliseconds, causes SIGKILL; a signal within a second of the first
 * is the same key press, sent by both the terminal and npm.
 */
function endChildrenOnSignals({ patience = 5000, exitCode } = {}) {
  let askedAt = 0;
  const kill = () => running.forEach((child) => signalGroup(child, 'SIGKILL'));
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ]) {
    const exitIfAlone = () => running.size === 0 && process.exit(exitCode ?? 128 + number);
    process.on(signal, () => {
      if (askedAt > 0) {
        if (performance.now() - askedAt > 1000) kill();
        return;
      }
      askedAt = performance.now();
      exitIfAlone();
      for (const child of running) {
        child.once('exit', exitIfAlone);
        signalGroup(child, 'SIGTERM');
      }
      setTimeout(kill, patience).unref();
    });
  }
}

module.exports = { endChildrenOnSignals, root, run };
