// @ts-check
'use strict';

// A program may load a second copy of this package: another folder's (a monorepo, a global tool), or this one's again
// (hot reload, a test runner with a registry of its own). A process is one worker, whichever copy asks: the copy that
// attached it is found by way of `process`. In a process that is no worker nothing is kept.

const path = require('node:path');
const { ClusterError } = require('../errors');

const { worker: HELD } = require('../symbols').shared;

const { version } = require('../../package.json');
const folder = path.join(__dirname, '..', '..');

/**
 * @typedef {object} Held what the copy that attached this process keeps for others
 * @property {string} version
 * @property {string} folder
 * @property {import('../worker/worker').Worker} worker
 * @property {any} package what it gives to programs, once one has asked
 * @property {() => any} load makes it; null: it is being made
 */

let isHolder = false;

/** @returns {Held | undefined} */
const held = () => /** @type {any} */ (process)[HELD];

/** This copy has made the process a worker. @param {import('../worker/worker').Worker} worker @param {() => any} load */
function hold(worker, load) {
  /** @type {Held} */
  const value = { version, folder, worker, package: null, load };
  isHolder = true;
  Object.defineProperty(process, HELD, { value });
}

/** The worker that a copy of this version has made of this process; null when there is none. */
function heldWorker() {
  const own = held();
  if (own === undefined) return null;
  if (own.version === version) return own.worker;
  throw new ClusterError(
    `This process is a worker of drover ${own.version} (${own.folder}), and its program loads drover ${version} (${folder}): ` +
      'start the cluster with the copy that the program loads, or let both be one.',
    'VERSION_MISMATCH',
    { worker: { version: own.version, folder: own.folder }, program: { version, folder } },
  );
}

/** What the copy that made this process a worker gives; null when this copy is to give its own. */
function heldPackage() {
  const own = held();
  if (own === undefined || own.version !== version) return null;
  if (own.package === null && !isHolder) own.package = own.load();
  return own.package;
}

/** What this copy gives is what others give from now on. @param {any} exports */
function keepPackage(exports) {
  const own = held();
  if (own?.version === version) own.package ??= exports;
}

module.exports = { heldPackage, heldWorker, hold, keepPackage };
