// @ts-check
'use strict';

// The standard streams of this process.

/**
 * Makes `process.stdout` and `process.stderr` pass the stream to `found` when the program first accesses it, before the
 * program gets it.
 *
 * @param {(stream: any) => void} found
 */
function followStreams(found) {
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) {
    const own = Object.getOwnPropertyDescriptor(process, name);
    if (own?.get === undefined || !own.configurable) continue;
    const { get } = own;
    Object.defineProperty(process, name, {
      ...own,
      get() {
        Object.defineProperty(process, name, own);
        const stream = get.call(process);
        found(stream);
        return stream;
      },
    });
  }
}

module.exports = { followStreams };
