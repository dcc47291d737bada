'use strict';

// node:cluster before the program, as its documentation and the usual wrappers run it: a worker that dies is
// replaced; a roll starts a new worker, disconnects the old one when the new one listens, and kills it when it
// has not ended in time.

const cluster = require('node:cluster');
const path = require('node:path');
const { inTurn, takeCommands } = require('../../servers/commands');
const { graceMs, workers } = require('./settings');

cluster.setupPrimary({ exec: path.join(__dirname, 'plain.js'), args: [] });

const serving = new Set();

/** Resolves when one worker more serves. */
async function begin() {
  const worker = cluster.fork();
  const ready = new Promise((resolve) => worker.on('message', (message) => message === 'ready' && resolve(true)));
  const died = new Promise((resolve) => worker.once('exit', () => resolve(false)));
  if (!(await Promise.race([ready, died]))) return begin();
  serving.add(worker);
  // One that was asked to leave is in no set any more.
  died.then(() => serving.delete(worker) && begin());
}

/** Resolves when the worker is gone. */
async function end(worker) {
  serving.delete(worker);
  const gone = new Promise((resolve) => worker.process.once('exit', resolve));
  worker.disconnect();
  const timer = setTimeout(() => worker.process.kill('SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
}

async function roll() {
  const leaving = [];
  for (const old of [...serving]) {
    await begin();
    leaving.push(end(old));
  }
  await Promise.all(leaving);
}

async function scale({ to }) {
  while (serving.size < to) await begin();
  await Promise.all([...serving].slice(to).map(end));
}

process.once('SIGTERM', () => {
  serving.clear();
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
  process.exit(0);
});

Promise.all(Array.from({ length: workers }, begin)).then(() => {
  takeCommands({
    roll: inTurn(roll),
    scale: inTurn(scale),
    workers: async () => [...serving].map((worker) => ({ pid: worker.process.pid, ready: true })),
  });
  console.log('ready');
});
