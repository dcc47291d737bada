'use strict';

// The suite of express-session, with drover/session instead of its store in memory.

const path = require('node:path');

module.exports = {
  runner: 'mocha',
  packages: {
    after: '0.8.2',
    cookie: '0.7.2',
    'cookie-parser': '1.4.6',
    'cookie-signature': '1.0.7',
    debug: '2.6.9',
    depd: '2.0.0',
    express: '4.17.3',
    mocha: '10.8.2',
    'on-headers': '1.1.0',
    parseurl: '1.3.3',
    'safe-buffer': '5.2.1',
    supertest: '6.3.4',
    'uid-safe': '2.1.5',
  },
  /** As in the package's own script. */
  before: ['bash', 'test/support/gencert.sh'],
  args: ['--require', path.join(__dirname, '..', 'express-session-preload.js'), '--require', 'test/support/env', '--check-leaks', 'test'],
  leftOut: {},
};
