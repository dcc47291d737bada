// @ts-check
'use strict';

// The order of loads from memory that another process changes. JavaScriptCore compiles a hot atomic load to a
// read-modify-write, which memory that can only be read answers with SIGSEGV: the loads are plain, and atomic operations
// on memory of one's own keep them in order.

const own = new Int32Array(new SharedArrayBuffer(4));

/** A load; what is read after it is read later. @param {Int32Array} words @param {number} at */
function openingLoad(words, at) {
  const value = words[at];
  Atomics.store(own, 0, 0);
  Atomics.load(own, 0);
  return value;
}

/** A load; what was read before it was read earlier. @param {Int32Array} words @param {number} at */
function closingLoad(words, at) {
  Atomics.store(own, 0, 0);
  Atomics.load(own, 0);
  return words[at];
}

module.exports = { closingLoad, openingLoad };
