// @ts-check
'use strict';

// A worker that is not ready after a while logs what would make it ready, before `startupTimeout` ends it. The primary
// measures the time: a timer here would wake an idle worker.

const { addon } = require('../native');
const runtime = require('../runtime');

/** What is missing, by `processManagement.ready`. @type {Record<string, string>} */
const missing = {
  listen: "does not listen yet; a program that serves nothing needs processManagement.ready: 'boot'",
  message: "has not called process.send('ready') yet, which processManagement.ready: 'message' waits for",
  boot: 'has not run its script to the end yet, with its top-level await',
};

/** @param {import('./worker').Worker} worker @param {number} time how long ago it was started, milliseconds */
function hintAtStart(worker, time) {
  if (addon.workerIsReady() || worker.drain.begun || worker.orphaned) return;
  const { ready, startupTimeout } = worker.hello.config.processManagement;
  const [child] = runtime.runningChildren();
  const more = child === undefined ? '' : ` It runs a child, and only the worker itself is served for: ${child.spawnargs.join(' ')}`;
  const [seconds, limit] = [time / 1000, startupTimeout / 1000];
  worker.hint(`A worker runs for ${seconds} s and ${missing[ready]}. After ${limit} s (startupTimeout) it is ended.${more}`, false);
}

module.exports = { hintAtStart };
