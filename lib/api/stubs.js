// @ts-check
'use strict';

// Classes of the contract that later versions bring: they exist, and their methods say so.

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
  // Nothing was begun, so that there is nothing to end.
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
