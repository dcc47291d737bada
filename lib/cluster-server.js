// @ts-check
'use strict';

// What `listen` returns in the primary, where the listening is the workers': a server of Node's class that never
// takes a connection itself, so that programs that hang more on it (WebSockets, limits, listeners) run
// unchanged in every process.

const http = require('node:http');

class ClusterServer extends http.Server {
  /** @param {any} role */
  constructor(role) {
    super();
    this.role = role;
    // Node's own listener would watch connections, and there are none.
    this.removeAllListeners('listening');
    Object.defineProperty(this, 'listening', { value: false, writable: true });
  }

  /** The workers serve. */
  begun() {
    /** @type {any} */ (this).listening = true;
    this.emit('listening');
  }

  /** @override */
  address() {
    return this.role.address();
  }

  /** Ends the whole cluster. @override @param {(error?: Error) => void} [callback] */
  close(callback) {
    this.role.close().then(
      () => {
        /** @type {any} */ (this).listening = false;
        this.emit('close');
        callback?.();
      },
      (/** @type {Error} */ error) => callback?.(error),
    );
    return this;
  }
}

exports.ClusterServer = ClusterServer;
