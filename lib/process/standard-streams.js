// @ts-check
'use strict';

// The streams to which the program writes its output, observed from its first access on. A stream that the program never
// accesses is not created.

const runtime = require('../runtime');

/** Created streams. @type {any[]} */
const made = [];
/** Callbacks for each stream. @type {((stream: any) => void)[]} */
const watchers = [];

/** Calls `see` with each stream when the program first accesses it. @param {(stream: any) => void} see */
function eachStream(see) {
  watchers.push(see);
  made.forEach(see);
}

/** Passes the streams to `eachStream`'s callbacks before the program gets them. */
function watchStreams() {
  runtime.followStreams((stream) => {
    made.push(stream);
    watchers.forEach((see) => see(stream));
  });
}

module.exports = { eachStream, watchStreams };
