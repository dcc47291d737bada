// @ts-check
'use strict';

// Bun. What works as in Node.js is Node's.

const node = require('../node');
const { whatBunLacks } = require('./lacks');

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
  ...whatBunLacks,
  ...require('./internals/fetch-server'),
  ...require('./internals/http-response'),
  ...require('./internals/listen'),
  ...require('./internals/process-events'),
  ...require('./internals/serve-handlers'),
  ...require('./internals/server-kinds'),
  ...require('./internals/signal-delivery'),
  ...require('./internals/sockets'),
  ...require('./internals/standard-streams'),
  ...require('./internals/stream-writes'),
  ...require('./internals/uncaught-errors'),
  version: null,
  acceptsItself: true,
  /** Why the addon must not be loaded; null if it may. */
  unsupported: isNewEnough(own) ? null : `drover needs Bun ${OLDEST.join('.')} or later, this is ${own}`,
};
