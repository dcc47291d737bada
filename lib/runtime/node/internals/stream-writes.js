// @ts-check
'use strict';

// The writes of a standard stream.
//
// Relies on: `stream._write(chunk, encoding, callback)` and `stream._writev(chunks, callback)`, which `write` calls, and
// `stream._handle.setBlocking(true)` of a pipe.
// Seen on: Node.js 20, 22, 24, 26.

/**
 * Changes what a stream writes, below its `write`: a `write` that the program has replaced sees the original text.
 *
 * @param {any} stream
 * @param {(chunk: any, encoding: any) => any} change
 */
function changeChunks(stream, change) {
  const { _write: write, _writev: writeAll } = stream;
  stream._write = function (/** @type {any} */ chunk, /** @type {any} */ encoding, /** @type {any} */ callback) {
    return write.call(this, change(chunk, encoding), encoding, callback);
  };
  if (typeof writeAll !== 'function') return;
  stream._writev = function (/** @type {any[]} */ chunks, /** @type {any} */ callback) {
    for (const one of chunks) one.chunk = change(one.chunk, one.encoding);
    return writeAll.call(this, chunks, callback);
  };
}

/** Makes writes to a full pipe block. @param {any} stream */
function blockWhenFull(stream) {
  stream._handle?.setBlocking?.(true);
}

module.exports = { blockWhenFull, changeChunks };
