// @ts-check
'use strict';

// Bun: drover serves as a single process without workers. Everything that such a process needs works as in Node.js.

const node = require('../node');

/** Earlier versions abort the process when the addon calls functions of libuv. */
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
  /** Why the addon must not be loaded; null if it may. */
  unsupported: isNewEnough(own) ? null : `drover needs Bun ${OLDEST.join('.')} or later, this is ${own}`,
};
