// @ts-check
'use strict';

// The order of loads from memory that another process changes. An atomic load is a load-acquire in V8: what is read after
// it is read later.

const own = new Int32Array(new SharedArrayBuffer(4));
/** On these processors a load does not keep earlier loads before it; a store to memory of one's own before it does. */
const reorders = process.arch !== 'x64';

/** A load; what is read after it is read later. @param {Int32Array} words @param {number} at */
function openingLoad(words, at) {
  return Atomics.load(words, at);
}

/** A load; what was read before it was read earlier. @param {Int32Array} words @param {number} at */
function closingLoad(words, at) {
  if (reorders) Atomics.store(own, 0, 0);
  return Atomics.load(words, at);
}

module.exports = { closingLoad, openingLoad };
