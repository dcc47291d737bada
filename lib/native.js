// @ts-check
'use strict';

// The addon, or the error of loading it: on a platform without an addon `require('drover')` works and clustering is
// off.

/** @type {any} */
let addon = null;
/** @type {Error | null} */
let problem = null;
try {
  addon = require('../binding.js');
} catch (error) {
  problem = /** @type {Error} */ (error);
}

/** Constants that JavaScript shares with the core. @type {import('../binding').Constants | null} */
const constants = addon === null ? null : addon.constants();

module.exports = { addon, constants, problem };
