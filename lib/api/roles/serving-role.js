// @ts-check
'use strict';

// What an application's methods do in a process that serves itself: a worker, or one without a cluster.

const { serve } = require('../../http/serving');
const { onShutdown, waitUntil } = require('../../process/shutdown-hooks');

/**
 * @typedef {{ app: any, isGiven?: boolean, server: any, data: any, prepared: any, functions: any }} Made what the program
 *   gave, and the configuration that came of it; `isGiven`: the application is the program's
 */

/** Serves in this very process: a worker, or no cluster at all. */
class ServingRole {
  /** @param {Made} made */
  constructor(made) {
    this.made = made;
    /** What listens or has listened. @type {Set<import('../../http/serving').Serving>} */
    this.servings = new Set();
  }

  /** A server of the application's that waits to listen. */
  serving() {
    const serving = serve(this.made.app, this.made.server, this.made.isGiven === true);
    this.servings.add(serving);
    return serving;
  }

  /**
   * @param {import('../../http/serving').Serving} serving
   * @param {import('../../http/serving').ListenOptions} options
   * @param {string | symbol} errorEvent
   */
  async start(serving, options, errorEvent) {
    try {
      await serving.start(options, errorEvent);
    } catch (error) {
      this.servings.delete(serving);
      throw error;
    }
  }

  /** Servers that listen. */
  servers() {
    return [...this.servings].map(({ server }) => server).filter((server) => server.listening);
  }

  address() {
    return this.servers()[0]?.address() ?? null;
  }

  /** @param {() => void | Promise<void>} hook */
  onShutdown(hook) {
    onShutdown(hook);
  }

  /** @param {PromiseLike<unknown>} promise */
  waitUntil(promise) {
    waitUntil(promise);
  }

  /** @returns {Promise<void>} */
  async close() {
    const closed = this.servers().map(
      (server) =>
        new Promise((/** @type {(_: void) => void} */ resolve, reject) => {
          server.close((error) => (error ? reject(error) : resolve()));
        }),
    );
    await Promise.all(closed);
  }
}

module.exports = { ServingRole };
