'use strict';

// The suite of express-rate-limit, with drover/rate-limit instead of its store in memory.

const path = require('node:path');

const INNER = 'looks into MemoryStore';
const CLOCK = 'turns the clock of the process forward: the lifetimes of the cache follow the real one';

module.exports = {
  runner: 'jest',
  packages: {
    '@jest/globals': '30.4.1',
    debug: '4.4.3',
    express: '5.2.1',
    'ip-address': '10.2.0',
    jest: '30.4.2',
    'ratelimit-header-parser': '0.1.0',
    supertest: '7.2.2',
    'ts-jest': '29.4.12',
    typescript: '5.9.3',
  },
  /** @param {string} folder of the package @param {string} modules where the packages are */
  config: (folder, modules) => ({
    rootDir: folder,
    testMatch: ['**/test/library/**/*-test.ts'],
    testTimeout: 30_000,
    modulePaths: [modules],
    transform: {
      '^.+\\.ts$': [path.join(modules, 'ts-jest'), { diagnostics: false, isolatedModules: true, tsconfig: { target: 'es2022', module: 'commonjs', esModuleInterop: true } }],
    },
    moduleNameMapper: {
      '^\\.{1,2}/.*memory-store\\.js$': path.join(__dirname, '..', 'express-rate-limit-store.js'),
      '^(\\.{1,2}/.*)\\.js$': '$1',
    },
  }),
  leftOut: {
    'memory store test clears the timer when `shutdown` is called': INNER,
    'memory store test should automatically clear previously set intervals': INNER,
    'memory store test should move clients from previous to current': INNER,
    'memory store test does not allow a Client object to be assigned to two keys': CLOCK,
    'memory store test resets the count for all the keys in the store when the timeout is reached': CLOCK,
    'middleware test should (eventually) accept new connections from a blocked IP': CLOCK,
    'middleware test should work repeatedly': CLOCK,
  },
};
