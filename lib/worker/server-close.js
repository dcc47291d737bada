// @ts-check
'use strict';

// `server.close()` of a program in a draining worker: it behaves as in one process, whether drover has already closed
// the server or not.

const runtime = require('../runtime');

/** @param {import('./worker').Worker} worker */
function followClose(worker) {
  for (const { prototype } of runtime.serverClasses) hook(worker, prototype);
}

/** @param {import('./worker').Worker} worker @param {any} prototype */
function hook(worker, prototype) {
  const { close } = prototype;

  prototype.close = function (/** @type {unknown} */ callback) {
    const { drain, signals } = worker;
    if (!drain.begun || typeof callback !== 'function') {
      return drain.closed.has(this) ? this : Reflect.apply(close, this, arguments);
    }
    // Work that the callback starts is the program's clean-up.
    const cleanUp = signals.work.bind(/** @type {(...args: any[]) => any} */ (callback));
    if (!drain.closed.delete(this)) return Reflect.apply(close, this, [cleanUp]);
    if (drain.isClosed(this)) process.nextTick(() => Reflect.apply(cleanUp, this, []));
    else this.once('close', () => Reflect.apply(cleanUp, this, []));
    return this;
  };
}

module.exports = { followClose };
