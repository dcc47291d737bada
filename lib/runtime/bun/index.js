// @ts-check
'use strict';

// Bun: serves as one process without workers. What is asked of the runtime in such a process, Bun does as Node.js does.

const node = require('../node');

/** In earlier versions the functions of libuv that the addon calls abort the process. */
const OLDEST = [1, 4, 4];

/** @param {string} version @returns {boolean} */
function isNewEnough(version) {
  const numbers = version.split(/[.-]/, 3).map(Number);
  const differs = OLDEST.findIndex((number, at) => numbers[at] !== number);
  return differs < 0 || numbers[differs] > OLDEST[differs];
}

const own = String(process.versions.bun);

module.exports = {
  ...node,
  version: null,
  withoutWorkers: 'bun',
  /** Why the addon must not be loaded. */
  unsupported: isNewEnough(own) ? null : `drover needs Bun ${OLDEST.join('.')} or later, this is ${own}`,
};
