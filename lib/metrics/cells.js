// @ts-check
'use strict';

// Indexes of a process's cells in shared memory, by name; src/metrics/layout.rs defines them as a page. Without the
// core nothing is counted.

const { constants } = require('../native');

module.exports = constants?.cells ?? /** @type {import('../../binding').Cells} */ ({});
