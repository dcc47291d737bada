'use strict';

// Before the suite of rate-limiter-flexible: its limiters in memory and in memcached are drover's.

const Module = require('node:module');
const path = require('node:path');
const { freshCache } = require('./in-one-process');
const { replace, takePackageFrom } = require('./replace');

const folder = process.cwd();
takePackageFrom('rate-limiter-flexible', folder);
const { RateLimiterDrover } = require('../../lib/adapters/rate-limiter-flexible');

class RateLimiterMemory extends RateLimiterDrover {
  constructor(options) {
    const cache = freshCache();
    super({ ...options, storeClient: cache });
    // What the tests read in it.
    this._memoryStorage = { get: (key) => (cache.has(key) ? { consumedPoints: cache.get(key) } : null) };
  }
}

/** What the tests use of `memcached-mock`. */
class Memcached {
  cache = freshCache();

  flush(done) {
    this.cache.clear().then(() => done());
  }

  get(key, done) {
    done(null, this.cache.get(key) ?? false);
  }
}

class RateLimiterMemcache extends RateLimiterDrover {
  constructor(options) {
    const { storeClient } = options;
    super({ ...options, storeClient: storeClient instanceof Memcached ? storeClient.cache : storeClient });
  }
}

replace(path.join(folder, 'lib', 'RateLimiterMemory.js'), RateLimiterMemory);
replace(path.join(folder, 'lib', 'RateLimiterMemcache.js'), RateLimiterMemcache);

const load = Module._load;
Module._load = function (request, ...rest) {
  return request === 'memcached-mock' ? Memcached : load.call(this, request, ...rest);
};
