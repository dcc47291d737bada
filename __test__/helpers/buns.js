'use strict';

// The binaries of Bun that drover is tested with. They come as npm packages and stay in .cache/packages.

const path = require('node:path');
const { packages } = require('./packages');

/** Resolves to the path of this version of Bun; null when it cannot be had, and the test `t` is skipped then. */
async function findBun(t, version) {
  const folder = await packages(t, { bun: version });
  return folder && path.join(folder, 'node_modules', 'bun', 'bin', 'bun.exe');
}

module.exports = { findBun };
