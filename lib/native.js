// @ts-check
'use strict';

// The addon, or the error of loading it: on a platform without an addon, or in a runtime that is too old,
// `require('drover')` works and clustering is off.

const runtime = require('./runtime');

/** @type {any} */
let addon = null;
/** @type {Error | null} */
let problem = null;
try {
  if (runtime.unsupported !== null) throw new Error(runtime.unsupported);
  addon = require('../binding.js');
} catch (error) {
  problem = /** @type {Error} */ (error);
}

/** Constants that JavaScript shares with the core. @type {import('../binding').Constants | null} */
const constants = addon === null ? null : addon.constants();

module.exports = { addon, constants, problem };
