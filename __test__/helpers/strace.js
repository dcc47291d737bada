'use strict';

// What a process that runs already does, as strace sees it.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { fromDebian, installed, mayInstall } = require('./debian');
const { skip } = require('./skip');

/**
 * Resolves to the path of a strace. Where there is none the test `t` is skipped and says why (with CI=true it fails), and
 * this resolves to null.
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

/** What strace says first. */
const ATTACHED = /attached/;

/**
 * The system calls of all threads of a process, a line each, while `during` runs. Being watched wakes every thread once:
 * what that brings is left out. Rejects with what strace says where it may not watch.
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
  // The threads go back to sleep, which nothing tells.
  await wait(500);
  const before = text.length;
  await during();
  const seen = text.slice(before);
  tracer.kill('SIGINT');
  await ended;
  return seen.split('\n').filter((line) => line !== '');
}

module.exports = { findStrace, strace };
