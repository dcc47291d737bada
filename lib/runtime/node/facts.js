// @ts-check
'use strict';

// Differences between versions of Node.js, and memory usage of this process.

const v8 = require('node:v8');
const vm = require('node:vm');

const [major] = process.versions.node.split('.').map(Number);

/** The version of Node.js, which the workers' runtime must have too; null on another runtime. */
const version = /** @type {string | null} */ (process.versions.node);

/** Up to Node.js 20 a `maxConnections` of 0 means no limit. */
const countsZeroLimit = major > 20;

/** Node.js up to 20 pads an abstract name with NULs, which become part of the name; so do its clients. */
const fillsAbstractNames = major < 22;
/** Maximum bytes of a unix socket's name (unix(7)). */
const MAX_NAME = 108;

/**
 * The name of a unix socket as this runtime's clients use it.
 *
 * @param {string} name a path, or with a leading NUL an abstract name
 */
function socketName(name) {
  return fillsAbstractNames && name.startsWith('\0') ? name.padEnd(MAX_NAME, '\0') : name;
}

/** The heap size of this process, bytes. @returns {{ heapUsed: number, heapTotal: number, external: number }} */
function memoryUsage() {
  const { heapUsed, heapTotal, external } = process.memoryUsage();
  return { heapUsed, heapTotal, external };
}

/** Created when it is first needed. @type {(() => void) | null} */
let collectAll = null;

/** Collects all garbage, which takes as long as it takes. */
function collectGarbage() {
  if (collectAll === null) {
    // A context that is created while the flag is set has `gc`; the program's own has none.
    v8.setFlagsFromString('--expose-gc');
    collectAll = /** @type {() => void} */ (vm.runInNewContext('gc'));
    v8.setFlagsFromString('--no-expose-gc');
  }
  collectAll();
}

/** The script's path as it was named, from the root; undefined if there is none. @returns {string | undefined} */
function givenScript() {
  return process.argv[1];
}

module.exports = { collectGarbage, countsZeroLimit, givenScript, memoryUsage, socketName, version };
