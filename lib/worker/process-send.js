// @ts-check
'use strict';

// The IPC interface of a worker, as Node's child processes have it: process.send, process.disconnect, process.channel,
// process.connected and the 'message' and 'disconnect' events. `process.send('ready')` makes the worker ready, as in
// PM2; everything else is for the primary's program. As in a node:cluster worker, disconnecting drains the worker.

const { addon } = require('../native');
const { notSupported } = require('../errors');
const runtime = require('../runtime');

/** @param {any} message */
function missing(message) {
  if (message !== undefined) return;
  throw Object.assign(new TypeError('The "message" argument must be specified'), { code: 'ERR_MISSING_ARGS' });
}

/** Node's own errors of a closed channel. @param {string} code @param {string} text */
function channelError(code, text) {
  return Object.assign(new Error(text), { code });
}

/** @param {import('./worker').Worker} worker */
function provideSend(worker) {
  const channel = new Channel(worker);
  /** @type {any} */
  const own = process;
  setConnected(true);
  own.channel = channel;
  own.send = function send(/** @type {any} */ message, /** @type {any} */ handle, /** @type {any} */ options, /** @type {any} */ done) {
    missing(message);
    const callback = handle === undefined ? undefined : [handle, options, done].find((value) => typeof value === 'function');
    try {
      if (!own.connected) throw channelError('ERR_IPC_CHANNEL_CLOSED', 'Channel closed');
      if (handle && handle !== callback) throw notSupported('sending handles');
      if (message === 'ready' && worker.hello.ready === 'message') worker.ready();
      worker.messages.notify(message);
    } catch (error) {
      if (callback === undefined) process.nextTick(() => process.emit('error', /** @type {any} */ (error)));
      else process.nextTick(callback, error);
      return false;
    }
    if (callback !== undefined) process.nextTick(callback, null);
    return true;
  };
  own.disconnect = function disconnect() {
    if (!own.connected) {
      process.emit('error', /** @type {any} */ (channelError('ERR_IPC_DISCONNECTED', 'IPC channel is already disconnected')));
      return;
    }
    disconnected();
    worker.drain.leave().then(() => {
      process.emit('disconnect');
      return worker.drain.end();
    });
  };
  // Messages of the last iteration have been sent.
  process.on('exit', addon.workerFlush);
}

/** A runtime may have an accessor there, of its own channel. @param {boolean} value */
function setConnected(value) {
  Object.defineProperty(process, 'connected', { value, writable: true, configurable: true, enumerable: true });
}

/** Marks the channel as closed. */
function disconnected() {
  /** @type {any} */
  const own = process;
  setConnected(false);
  own.channel = undefined;
  addon.workerHold(false);
}

/**
 * `process.channel`: keeps a program that listens for messages alive, as in a Node.js child process, except while
 * draining.
 */
class Channel {
  #worker;
  /** Number of 'message' and 'disconnect' listeners. */
  #count = 0;
  /** The program has called `ref` or `unref`. */
  #isExplicit = false;
  #isHeld = false;

  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.#worker = worker;
    const isHeard = (/** @type {string | symbol} */ event) => event === 'message' || event === 'disconnect';
    runtime.followListeners(
      (event) => {
        if (isHeard(event)) this.refCounted();
      },
      (event) => {
        if (isHeard(event)) this.unrefCounted();
      },
    );
  }

  #hold(/** @type {boolean} */ hold) {
    this.#isHeld = hold;
    const isOpen = process.connected && !this.#worker.drain.begun;
    addon.workerHold(hold && isOpen);
  }

  refCounted() {
    this.#count += 1;
    if (this.#count === 1 && !this.#isExplicit) this.#hold(true);
  }

  unrefCounted() {
    this.#count -= 1;
    if (this.#count === 0 && !this.#isExplicit) this.#hold(false);
  }

  ref() {
    this.#isExplicit = true;
    this.#hold(true);
  }

  unref() {
    this.#isExplicit = true;
    this.#hold(false);
  }

  hasRef() {
    return this.#isHeld;
  }
}

module.exports = { disconnected, provideSend };
