// @ts-check
'use strict';

// Public classes of later versions: they exist, and their methods throw or reject with NOT_SUPPORTED.

const { EventEmitter } = require('node:events');
const { notSupported } = require('../errors');

/** @param {string} name @param {string[]} asynchronous @param {string[]} synchronous */
function stub(name, asynchronous, synchronous) {
  const Class = { [name]: class extends EventEmitter {} }[name];
  for (const method of asynchronous) {
    Object.defineProperty(Class.prototype, method, {
      value: () => Promise.reject(notSupported(`${name}.${method}`)),
      writable: true,
      configurable: true,
    });
  }
  for (const method of synchronous) {
    const value = () => {
      throw notSupported(`${name}.${method}`);
    };
    Object.defineProperty(Class.prototype, method, { value, writable: true, configurable: true });
  }
  // Nothing was started, so there is nothing to stop.
  Object.defineProperty(Class.prototype, 'destroy', { value() {}, writable: true, configurable: true });
  return Class;
}

const MemoryManager = stub(
  'MemoryManager',
  [
    'getSystemMemoryStats',
    'getWorkerMemoryStats',
    'calculateOptimalWorkerCount',
    'getMemoryOptimizationRecommendations',
  ],
  ['checkMemoryLimits', 'detectMemoryLeak', 'suggestGarbageCollection', 'startMonitoring', 'stopMonitoring'],
);

module.exports = { MemoryManager };
