// @ts-check
'use strict';

// A process's cells in the shared memory, by name: what src/metrics/layout.rs calls a page, and says the meaning of.
// Nothing is counted without the core.

const { constants } = require('../native');

module.exports = constants?.cells ?? /** @type {import('../../binding').Cells} */ ({});
