'use strict';

// The binaries of Bun that drover is tested with. They come as npm packages and stay in .cache/packages.

const path = require('node:path');
const { packages } = require('./packages');

/** The version that tests use. */
const bunVersion = '1.4.5';

const binaryIn = (folder) => path.join(folder, 'node_modules', 'bun', 'bin', 'bun.exe');

/** Resolves to the path of this version of Bun; null when it cannot be had, and the test `t` is skipped then. */
async function findBun(t, version = bunVersion) {
  const folder = await packages(t, { bun: version });
  return folder && binaryIn(folder);
}

/** Resolves to the path of Bun; rejects when it cannot be had. */
function installBun() {
  const skip = (reason) => {
    throw new Error(`Bun cannot be installed: ${reason}`);
  };
  return findBun({ skip, diagnostic() {} });
}

module.exports = { bunVersion, findBun, installBun };
