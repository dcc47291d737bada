'use strict';

// In the suite of express-rate-limit: its MemoryStore is a DroverStore with a cache of its own.

const { DroverStore } = require('../../lib/adapters/rate-limit');
const { freshCache } = require('./in-one-process');

exports.MemoryStore = class MemoryStore extends DroverStore {
  constructor() {
    super(freshCache());
  }
};
