'use strict';

// What differs under Bun (npm run test:bun), with reasons; the docs have the user's view of it (docs/bun.md).

/** Test files that start no program, or programs of which drover has no part: they are the same under any runtime. */
const elsewhere = {};

/** Tests that fail under Bun, by file: their reasons by name. */
const differences = {};

module.exports = { differences, elsewhere };
