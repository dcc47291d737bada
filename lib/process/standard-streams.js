// @ts-check
'use strict';

// The standard streams of this process, seen once the program first asks for them. A stream that the program never
// touches is not made.

/** Streams that are made. @type {any[]} */
const made = [];
/** Who wants to see each stream. @type {((stream: any) => void)[]} */
const watchers = [];

/** Calls `see` with each standard stream, once the program asks for it. @param {(stream: any) => void} see */
function eachStream(see) {
  watchers.push(see);
  made.forEach(see);
}

/** From now on `process.stdout` and `process.stderr` show the stream to `eachStream`'s callers before the program gets it. */
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
