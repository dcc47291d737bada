// @ts-check
'use strict';

// A server of `Bun.serve` or `Bun.listen`, with the methods and events of Node's servers that drover uses.
//
// Relies on: of the server that Bun returns, `stop(closeActiveConnections)`, `pendingRequests`, `pendingWebSockets`.
// Seen on: Bun 1.4.4, 1.4.5.

const { EventEmitter } = require('node:events');

/** Of `Bun.serve`, seconds. */
const DEFAULT_IDLE_TIMEOUT = 10;

class BunServer extends EventEmitter {
  /** @param {boolean} isHttp @param {any} options Bun's */
  constructor(isHttp, options) {
    super();
    this.isHttp = isHttp;
    this.isEncrypted = Boolean(options?.tls);
    /** How long a connection may be idle, milliseconds. */
    this.idleTimeout = (options?.idleTimeout ?? DEFAULT_IDLE_TIMEOUT) * 1000;
    /** Bun's server while it listens. @type {any} */
    this.made = null;
  }

  /** @param {any} made what Bun has returned */
  opened(made) {
    this.made = made;
    const { stop } = made;
    made.stop = (/** @type {any[]} */ ...args) => {
      made.stop = stop;
      this.made = null;
      const stopped = Reflect.apply(stop, made, args);
      Promise.resolve(stopped).then(() => this.emit('close'));
      return stopped;
    };
  }

  get listening() {
    return this.made !== null;
  }

  address() {
    return this.made?.address ?? null;
  }

  /** As `close` of Node's servers. @param {() => void} [callback] */
  close(callback) {
    if (callback !== undefined) this.once('close', callback);
    this.made?.stop(false);
    return this;
  }
}

module.exports = { BunServer };
