'use strict';

// Before the suite of express-session: its MemoryStore is a DroverStore with a cache of its own.

const Module = require('node:module');
const path = require('node:path');
const { freshCache } = require('./in-one-process');
const { replace } = require('./replace');

const folder = process.cwd();
const load = Module._load;

// The package's main file loads MemoryStore, so drover gets the one class that it needs without it.
Module._load = function (request, ...rest) {
  return request === 'express-session' ? { Store: require(path.join(folder, 'session', 'store')) } : load.call(this, request, ...rest);
};
const { DroverStore } = require('../../lib/adapters/session');
Module._load = load;

class MemoryStore extends DroverStore {
  constructor() {
    super(freshCache());
  }
}

replace(path.join(folder, 'session', 'memory.js'), MemoryStore);
