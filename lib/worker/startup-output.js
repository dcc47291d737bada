// @ts-check
'use strict';

// Until a worker is ready the primary gets what it writes, so that the error of a start that fails can show
// it. Where the worker's output is part of the log, its streams wait for their reader, as a terminal's do: nothing is
// lost in a process that ends in the midst of its words.

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
  let isReported = true;
  stream.write = function reported(/** @type {any} */ chunk, /** @type {any} */ encoding, /** @type {any} */ callback) {
    // Anything else is an error of the stream's.
    const known = typeof chunk === 'string' || ArrayBuffer.isView(chunk);
    if (isReported && known) isReported = addon.workerWrote(textOf(chunk));
    // A program that has put its own in front keeps it, and this one behind it.
    if (!isReported && stream.write === reported) delete stream.write;
    return write.call(this, chunk, encoding, callback);
  };
}

/**
 * Both standard streams, when the program first asks for them.
 *
 * @param {import('./worker').Worker} worker
 */
function followOutput(worker) {
  const { captured } = worker.hello;
  eachStream((stream) => {
    if (captured) {
      runtime.blockWhenFull(stream);
      // Without a primary nobody splits it into records.
      changeWrites(stream, (text, isBytes) => (worker.orphaned ? text : joined(text, isBytes)));
    }
    listen(stream);
  });
  watchStreams();
}

module.exports = { followOutput };
