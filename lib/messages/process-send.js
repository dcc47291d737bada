// @ts-check
'use strict';

// process.send and the 'message' event of a worker, as Node's child processes have them: `process.send('ready')` is
// PM2's way to say so, everything else is for the primary's program.

const { addon } = require('../native');
const { notSupported } = require('../errors');

/** @param {any} message */
function missing(message) {
  if (message !== undefined) return;
  throw Object.assign(new TypeError('The "message" argument must be specified'), { code: 'ERR_MISSING_ARGS' });
}

/** @param {import('../worker').Worker} worker */
function provide(worker) {
  /** @type {any} */
  const own = process;
  own.connected = true;
  own.send = function send(/** @type {any} */ message, /** @type {any} */ handle, /** @type {any} */ options, /** @type {any} */ done) {
    missing(message);
    const callback = handle === undefined ? undefined : [handle, options, done].find((value) => typeof value === 'function');
    try {
      if (handle && handle !== callback) throw notSupported('sending handles');
      if (message === 'ready' && worker.welcome.ready === 'message') addon.workerReady();
      worker.mailbox.tell(message);
    } catch (error) {
      if (callback === undefined) process.nextTick(() => process.emit('error', /** @type {any} */ (error)));
      else process.nextTick(callback, error);
      return false;
    }
    if (callback !== undefined) process.nextTick(callback, null);
    return true;
  };
  holdWhileHeard(worker);
  // What was sent in the last turn is sent.
  process.on('exit', addon.workerFlush);
}

/** A program that waits for messages lives, as a child process of Node's does; one that drains ends. @param {import('../worker').Worker} worker */
function holdWhileHeard(worker) {
  const isMessage = (/** @type {string | symbol} */ event) => event === 'message';
  process.on('newListener', (event) => {
    if (isMessage(event) && !worker.drain.begun) addon.workerHold(true);
  });
  process.on('removeListener', (event) => {
    if (isMessage(event) && process.listenerCount('message') === 0) addon.workerHold(false);
  });
}

module.exports = { provide };
