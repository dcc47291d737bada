// @ts-check
'use strict';

// The clusters of this process, for classes that are built without one.

const { addon } = require('../native');

/** The native primaries that run. @type {Set<any>} */
const running = new Set();

/** @returns {any[]} WorkerInfo of the workers of all clusters of this process, or of the cluster of which it is a worker */
function allWorkers() {
  if (addon === null) return [];
  const own = addon.workerInfos();
  return own.length > 0 ? own : [...running].flatMap((core) => core.workers());
}

module.exports = { allWorkers, running };
