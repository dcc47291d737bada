'use strict';

// The runtime of the programs under test: this Node.js, or the one that DROVER_TEST_RUNTIME names (npm run test:bun).

const path = require('node:path');

const runtime = process.env.DROVER_TEST_RUNTIME ?? process.execPath;

/** Programs run under Bun. */
const isBun = path.basename(runtime).startsWith('bun');

/**
 * How the runtime prints an error with its stack, as the source of a regular expression. Bun shows the line that throws
 * before it.
 */
function printed(name, message) {
  if (!isBun) return `${name}: ${message}\\n {4}at `;
  return `(?:[^]*?\\n)??${name === 'Error' ? 'error' : name}: ${message}\\n(?:[^]*?\\n)?? {6}at `;
}

module.exports = { isBun, printed, runtime };
