'use strict';

// Records the system calls of a running process with strace.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { fromDebian, installed, mayInstall } = require('./debian');
const { skip } = require('./skip');

/**
 * Resolves to the path of strace, or to null if there is none: the test `t` is then skipped with the reason (with
 * CI=true it fails).
 */
async function findStrace(t) {
  const found = installed('strace');
  if (found !== undefined) return found;
  try {
    if (!mayInstall()) throw new Error('it is not installed, and only root may install it');
    return await fromDebian('strace');
  } catch (error) {
    return skip(t, `no strace: ${error.message.trim().split('\n').at(-1)}`, error);
  }
}

/** The first line that strace prints. */
const ATTACHED = /attached/;

/**
 * Resolves to the system calls of all threads of a process, one per line, while `during` runs. Attaching wakes every
 * thread once: these calls are left out. Rejects with strace's error if it may not attach.
 */
async function strace(t, program, pid, during) {
  const tracer = spawn(program, ['-f', '-ttt', '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  t.after(() => tracer.kill('SIGKILL'));
  let text = '';
  tracer.stderr.setEncoding('utf8').on('data', (piece) => {
    text += piece;
  });
  const ended = once(tracer, 'close');
  while (!ATTACHED.test(text)) await Promise.race([once(tracer.stderr, 'data'), ended.then(() => Promise.reject(new Error(text)))]);
  // Time for the threads to sleep again: there is no event to wait for.
  await wait(500);
  const before = text.length;
  await during();
  const seen = text.slice(before);
  tracer.kill('SIGINT');
  await ended;
  return seen.split('\n').filter((line) => line !== '');
}

module.exports = { findStrace, strace };
