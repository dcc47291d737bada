// @ts-check
'use strict';

// Texts of bytes, without the search for an encoding's name.
//
// Relies on: `buffer.latin1Slice(start, end)`, which `toString('latin1')` calls.
// Seen on: Node.js 20, 22, 24, 26.

/**
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} end
 * @returns {string}
 */
function latin1(bytes, start, end) {
  return /** @type {any} */ (bytes).latin1Slice(start, end);
}

module.exports = { latin1 };
