'use strict';

// A cache without a cluster, for suites that know nothing of drover.

const http = require('node:http');
const { createServer } = require('../..');

const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });

let count = 0;

/** A namespace that nobody else has. */
const freshCache = () => cache.namespace(`suite ${(count += 1)}`);

module.exports = { freshCache };
