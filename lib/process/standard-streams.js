// @ts-check
'use strict';

// The standard streams of this process, observed from the program's first access on. A stream that the program never
// accesses is not created.

/** Created streams. @type {any[]} */
const made = [];
/** Callbacks for each stream. @type {((stream: any) => void)[]} */
const watchers = [];

/** Calls `see` with each standard stream when the program first accesses it. @param {(stream: any) => void} see */
function eachStream(see) {
  watchers.push(see);
  made.forEach(see);
}

/**
 * Makes `process.stdout` and `process.stderr` pass the stream to `eachStream`'s callbacks before the program gets it.
 */
function watchStreams() {
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) {
    const own = Object.getOwnPropertyDescriptor(process, name);
    if (own?.get === undefined || !own.configurable) continue;
    const { get } = own;
    Object.defineProperty(process, name, {
      ...own,
      get() {
        Object.defineProperty(process, name, own);
        const stream = get.call(process);
        made.push(stream);
        watchers.forEach((see) => see(stream));
        return stream;
      },
    });
  }
}

module.exports = { eachStream, watchStreams };
