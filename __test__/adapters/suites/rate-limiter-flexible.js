'use strict';

// The suite of rate-limiter-flexible, with drover's limiter instead of RateLimiterMemory and RateLimiterMemcache. The
// files about other stores are left out, and those that need a client of Redis to load.

const path = require('node:path');

const files = [
  'RateLimiterMemory',
  'RateLimiterMemcache',
  'RateLimiterAbstract',
  'RateLimiterStoreAbstract',
  'RateLimiterInsuredAbstract',
  'RateLimiterCompatibleAbstract',
  'RateLimiterQueue',
  'RateLimiterRes',
  'RateLimiterUnion',
  'RLWrapperBlackAndWhite',
  'RLWrapperTimeouts',
];

const UNAWAITED = 'reads the points of a new key before the request that consumes them was awaited: the cache creates a counter some microseconds later';

module.exports = {
  runner: 'mocha',
  packages: { chai: '4.5.0', mocha: '10.8.2', sinon: '17.0.2' },
  args: ['--require', path.join(__dirname, '..', 'rate-limiter-flexible-preload.js'), ...files.map((name) => `test/${name}.test.js`)],
  leftOut: {
    'RateLimiterMemory with fixed window consume should start new time window if previous already expired (msBeforeNext is negative)':
      'changes the records of RateLimiterMemory',
    'RLWrapperBlackAndWhite  consume even if black listed when runAction set to true': UNAWAITED,
    'RLWrapperBlackAndWhite  penalty even if blacked when runAction set to true': UNAWAITED,
    'RLWrapperBlackAndWhite  reward even if blacked when runAction set to true': UNAWAITED,
    'RateLimiterInsuredAbstract - Backward Compatibility Tests With insuranceLimiter get should fallback to insuranceLimiter when store fails': UNAWAITED,
    'RateLimiterCompatibleAbstract RLWrapperBlackAndWhite as insuranceLimiter should fallback to RLWrapperBlackAndWhite insuranceLimiter on get store error':
      UNAWAITED,
  },
};
