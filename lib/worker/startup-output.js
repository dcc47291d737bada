// @ts-check
'use strict';

// Until a worker is ready its output is sent to the primary, for the error of a failed start. If the output is part of
// the log, the streams are blocking, like a terminal's, so that no output of an exiting process is lost.

const { changeWrites, joined } = require('../process/log-records');
const { eachStream, watchStreams } = require('../process/standard-streams');
const runtime = require('../runtime');
const { addon } = require('../native');

/** @param {any} chunk a string or a view */
function textOf(chunk) {
  return typeof chunk === 'string' ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString();
}

/** @param {any} stream */
function listen(stream) {
  const { write } = stream;
  const isOwn = Object.hasOwn(stream, 'write');
  let isReported = true;
  stream.write = function reported(/** @type {any} */ chunk, /** @type {any} */ encoding, /** @type {any} */ callback) {
    // Anything else is an error of the stream.
    const known = typeof chunk === 'string' || ArrayBuffer.isView(chunk);
    if (isReported && known) isReported = addon.workerWrote(textOf(chunk));
    // A program's replacement of `write` stays in place in front of this one.
    if (!isReported && stream.write === reported) {
      if (isOwn) stream.write = write;
      else delete stream.write;
    }
    return write.call(this, chunk, encoding, callback);
  };
}

/**
 * Captures both standard streams when the program first accesses them.
 *
 * @param {import('./worker').Worker} worker
 */
function followOutput(worker) {
  const { captured } = worker.hello;
  eachStream((stream) => {
    if (captured) {
      runtime.blockWhenFull(stream);
      // Without a primary the output is not split into records.
      changeWrites(stream, (text, isBytes) => (worker.orphaned ? text : joined(text, isBytes)));
    }
    listen(stream);
  });
  watchStreams();
}

module.exports = { followOutput };
