'use strict';

// The runtime of the programs under test: this Node.js, or the one that DROVER_TEST_RUNTIME names (npm run test:bun).

const path = require('node:path');

const runtime = process.env.DROVER_TEST_RUNTIME ?? process.execPath;

/** Programs run under Bun. */
const isBun = path.basename(runtime).startsWith('bun');

module.exports = { isBun, runtime };
