// @ts-check
'use strict';

// A program may load a second copy of this package: from another folder (a monorepo, a global tool), or the same folder
// again (hot reload, a test runner with its own module registry). A process is one worker for all copies: the copy that
// attached it is found through `process`. In a process that is no worker nothing is stored.

const path = require('node:path');
const { ClusterError } = require('../errors');

const { worker: HELD } = require('../symbols').shared;

const { version } = require('../../package.json');
const folder = path.join(__dirname, '..', '..');

/**
 * @typedef {object} Held what the copy that attached this process shares with other copies
 * @property {string} version
 * @property {string} folder
 * @property {import('../worker/worker').Worker} worker
 * @property {any} package its exports, once loaded
 * @property {() => any} load loads the exports; null while they are being loaded
 */

let isHolder = false;

/** @returns {Held | undefined} */
const held = () => /** @type {any} */ (process)[HELD];

/**
 * Registers this copy as the one that has made the process a worker.
 *
 * @param {import('../worker/worker').Worker} worker
 * @param {() => any} load
 */
function hold(worker, load) {
  /** @type {Held} */
  const value = { version, folder, worker, package: null, load };
  isHolder = true;
  Object.defineProperty(process, HELD, { value });
}

/** The worker of this process, attached by a copy of this version; null if there is none. */
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

/** The exports of the copy that made this process a worker; null if this copy has to export its own. */
function heldPackage() {
  const own = held();
  if (own === undefined || own.version !== version) return null;
  if (own.package === null && !isHolder) own.package = own.load();
  return own.package;
}

/** Registers this copy's exports for other copies. @param {any} exports */
function keepPackage(exports) {
  const own = held();
  if (own?.version === version) own.package ??= exports;
}

module.exports = { heldPackage, heldWorker, hold, keepPackage };
