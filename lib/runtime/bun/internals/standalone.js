// @ts-check
'use strict';

// An executable that `bun build --compile` has made: it contains the script and its modules, and preloads nothing.
//
// Relies on: `Bun.main` is in Bun's own file system then.
// Seen on: Bun 1.4.5.

function isStandalone() {
  return String(/** @type {any} */ (globalThis).Bun.main).startsWith('/$bunfs/');
}

module.exports = { isStandalone };
