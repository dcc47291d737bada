// @ts-check
'use strict';

// What differs between versions of Node.js, and figures of this process.

const [major] = process.versions.node.split('.').map(Number);

/** Node.js' version, which the workers' runtime must have too; null: it is another runtime. */
const version = process.versions.bun === undefined ? process.versions.node : null;

/** Until Node.js 20 a `maxConnections` of 0 is no limit. */
const countsZeroLimit = major > 20;

/** Node.js up to 20 fills an abstract name up with NULs, which are part of it, and so do its clients. */
const fillsAbstractNames = major < 22;
/** Bytes of a unix socket's name (unix(7)). */
const MAX_NAME = 108;

/**
 * The name of a unix socket as this runtime's clients ask for it.
 *
 * @param {string} name a path, or with a leading NUL an abstract name
 */
function socketName(name) {
  return fillsAbstractNames && name.startsWith('\0') ? name.padEnd(MAX_NAME, '\0') : name;
}

/** What this process's heap takes, bytes. @returns {{ heapUsed: number, heapTotal: number, external: number }} */
function memoryUsage() {
  const { heapUsed, heapTotal, external } = process.memoryUsage();
  return { heapUsed, heapTotal, external };
}

module.exports = { countsZeroLimit, memoryUsage, socketName, version };
