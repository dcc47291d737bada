// @ts-check
'use strict';

// A list of byte strings after a number that says what they are, as `src/fleet/parts.rs` describes it.

/** @param {number} what @param {(string | Buffer)[]} parts */
function pack(what, parts) {
  /** @type {any[]} */
  const all = [Buffer.of(what)];
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(bytes.length);
    all.push(length, bytes);
  }
  return Buffer.concat(/** @type {any[]} */ (all));
}

/** @param {Buffer} bytes as the core sends them */
function unpack(bytes) {
  const parts = [];
  for (let at = 1; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at);
    parts.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return { what: bytes[0], parts };
}

module.exports = { pack, unpack };
