// @ts-check
'use strict';

// drover/keyv: a storage adapter for Keyv 5. Keyv serializes the values and puts its namespace before the keys.

const { EventEmitter } = require('node:events');
const { cacheOf } = require('./source');

/** @typedef {{ key: string, value: any, ttl?: number }} Entry */

class DroverStore extends EventEmitter {
  /** Set by the Keyv that uses the store. @type {string | undefined} */
  namespace;
  #cache;

  /** @param {any} source an app, its cache, or a namespace of it */
  constructor(source) {
    super();
    this.#cache = cacheOf(source, 'keyv');
    // Keyv gives `iterator` only to stores whose dialect is in a list of its own; nothing else reads it.
    this.opts = { dialect: 'redis', url: 'drover:' };
  }

  /** @param {string} key */
  async get(key) {
    return this.#cache.get(key);
  }

  /** @param {string[]} keys */
  async getMany(keys) {
    return this.#cache.getMany(keys);
  }

  /** @param {string} key */
  async has(key) {
    return this.#cache.has(key);
  }

  /** @param {string[]} keys */
  async hasMany(keys) {
    return keys.map((key) => this.#cache.has(key));
  }

  /** @param {string} key @param {any} value @param {number} [ttl] milliseconds */
  async set(key, value, ttl) {
    if (value === undefined || (ttl !== undefined && ttl <= 0)) await this.#cache.delete(key);
    else await this.#cache.set(key, value, { ttl });
  }

  /** Which of them were stored. @param {Entry[]} entries */
  async setMany(entries) {
    const results = await Promise.allSettled(entries.map(({ key, value, ttl }) => this.set(key, value, ttl)));
    const failure = results.find(({ status }) => status === 'rejected');
    if (failure !== undefined && this.listenerCount('error') > 0) this.emit('error', /** @type {PromiseRejectedResult} */ (failure).reason);
    return results.map(({ status }) => status === 'fulfilled');
  }

  /** @param {string} key */
  async delete(key) {
    return this.#cache.delete(key);
  }

  /** Whether all of them were there. @param {string[]} keys */
  async deleteMany(keys) {
    const deleted = await Promise.all(keys.map((key) => this.#cache.delete(key)));
    return deleted.every(Boolean);
  }

  /** Removes the keys of Keyv's namespace; without one all keys. */
  async clear() {
    const prefix = prefixOf(this.namespace);
    if (!prefix.includes('*')) {
      await this.#cache.invalidate(`${prefix}*`);
      return;
    }
    const gone = [];
    for await (const key of this.#cache.keys()) {
      if (key.startsWith(prefix)) gone.push(this.#cache.delete(key));
    }
    await Promise.all(gone);
  }

  /** Keys and values, as they were set. @param {string} [namespace] */
  async *iterator(namespace) {
    const prefix = prefixOf(namespace);
    for await (const key of this.#cache.keys()) {
      const value = key.startsWith(prefix) ? this.#cache.get(key) : undefined;
      if (value !== undefined) yield [key, value];
    }
  }
}

/** @param {string | undefined} namespace */
function prefixOf(namespace) {
  return namespace === undefined || namespace === '' ? '' : `${namespace}:`;
}

exports.DroverStore = DroverStore;
