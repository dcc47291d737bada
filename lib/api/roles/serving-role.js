// @ts-check
'use strict';

// The application's methods in a process that serves: a worker, or a process without a cluster.

const { serve } = require('../../http/serving');
const { onShutdown, waitUntil } = require('../../process/shutdown-hooks');

/**
 * @typedef {{ app: any, isGiven?: boolean, server: any, data: any, prepared: any, configuration?: any, functions: any, warm?: (cache: any) => any }} Made the
 * program's options and the resulting configuration; `isGiven`: the application was given by the program; `warm`: fills the
 * cache
 */

/** Serves in this process: a worker, or a process without a cluster. */
class ServingRole {
  /** @param {Made} made */
  constructor(made) {
    this.made = made;
    /** Servers that listen or have listened. @type {Set<import('../../http/serving').Serving>} */
    this.servings = new Set();
    /** The cache is being filled, or was. @type {Promise<void> | null} */
    this.warming = null;
  }

  /**
   * Fills the cache, if the program wants it and nobody did. Returns a promise for what must wait for that; it resolves also
   * when that has failed.
   *
   * @param {any} cache
   * @param {any} config
   */
  warm(cache, config) {
    const { warm } = this.made;
    if (warm === undefined) return null;
    this.warming ??= cache.warmUp(warm).then(
      () => {},
      (/** @type {any} */ error) => console.error(`drover: cache.warm failed, and the next worker that starts runs it again: ${error?.stack ?? error}`),
    );
    return config.cache?.warmBeforeReady ? this.warming : null;
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
