// @ts-check
'use strict';

// The application's methods in a process that serves: a worker, or a process without a cluster.

const { serve } = require('../../http/serving');
const { onShutdown, waitUntil } = require('../../process/shutdown-hooks');

/**
 * @typedef {{ app: any, isGiven?: boolean, server: any, data: any, prepared: any, functions: any }} Made the program's
 * options and the resulting configuration; `isGiven`: the application was given by the program
 */

/** Serves in this process: a worker, or a process without a cluster. */
class ServingRole {
  /** @param {Made} made */
  constructor(made) {
    this.made = made;
    /** Servers that listen or have listened. @type {Set<import('../../http/serving').Serving>} */
    this.servings = new Set();
  }

  /** Creates the application's server, which does not listen yet. */
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

  /** The servers that listen. */
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
