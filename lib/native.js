// @ts-check
'use strict';

// The addon, or why there is none: on a platform without one `require('drover')` works and clustering is off.

/** @type {any} */
let addon = null;
/** @type {Error | null} */
let problem = null;
try {
  addon = require('../binding.js');
} catch (error) {
  problem = /** @type {Error} */ (error);
}

/** Numbers and marks that JavaScript shares with the core. @type {import('../binding').Constants | null} */
const constants = addon === null ? null : addon.constants();

module.exports = { addon, constants, problem };
