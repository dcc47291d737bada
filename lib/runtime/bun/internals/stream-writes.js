// @ts-check
'use strict';

// The writes of a standard stream.
//
// Relies on: `process.stdout` and `process.stderr` have a `write` of their own for speed, which does not call `_write`; without
// it they are Writables, which call `stream._write(chunk, encoding, callback)`; their first write makes the pipe
// non-blocking, unless `_write` has been replaced.
// Seen on: Bun 1.4.4, 1.4.5.

const fs = require('node:fs');
const { Writable } = require('node:stream');

/** How long a full pipe is left alone, milliseconds. */
const FULL_INTERVAL = 1;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of it, however long the reader takes. @param {number} fd @param {any} chunk a string or a view @param {any} [encoding] */
function writeAll(fd, chunk, encoding) {
  const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += fs.writeSync(fd, bytes, written);
    } catch (error) {
      // Another process with this pipe may have made it non-blocking.
      if (/** @type {any} */ (error).code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, FULL_INTERVAL);
    }
  }
}

/** Where a console writes: an error of the descriptor is not the program's. */
class Sink extends Writable {
  /** @param {number} fd */
  constructor(fd) {
    super({ decodeStrings: false });
    this.fd = fd;
  }

  /** @override @param {any} chunk @param {any} encoding @param {() => void} callback */
  _write(chunk, encoding, callback) {
    try {
      writeAll(this.fd, chunk, encoding);
    } catch {
      // Nobody reads.
    }
    callback();
  }
}

/**
 * Changes what a stream writes, below its `write`: a `write` that the program has replaced sees the original text.
 *
 * @param {any} stream
 * @param {(chunk: any, encoding: any) => any} change
 */
function changeChunks(stream, change) {
  delete stream.write;
  const { _write: write } = stream;
  stream._write = function (/** @type {any} */ chunk, /** @type {any} */ encoding, /** @type {any} */ callback) {
    return write.call(this, change(chunk, encoding), encoding, callback);
  };
  stream._writev = undefined;
}

/** Makes writes to a full pipe block. @param {any} stream */
function blockWhenFull(stream) {
  if (stream instanceof Sink) return;
  delete stream.write;
  stream._write = function (/** @type {any} */ chunk, /** @type {any} */ encoding, /** @type {any} */ callback) {
    try {
      writeAll(stream.fd, chunk, encoding);
    } catch (error) {
      callback(error);
      return;
    }
    callback(null);
  };
  stream._writev = undefined;
}

module.exports = { Sink, blockWhenFull, changeChunks, writeAll };
