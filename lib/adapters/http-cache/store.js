// @ts-check
'use strict';

// Responses in the shared cache. A URI has a descriptor: the fields by which its variants differ, and a generation, which
// is part of the keys of its variants. Who removes the descriptor removes all variants, also those that are still being
// made: they are stored under a generation that nobody looks for any more.

const { createHash, randomBytes } = require('node:crypto');
const { variantOf } = require('./policy');

/** Of a descriptor while its first response is being made, and of one whose responses are not stored; milliseconds. */
const BEGINNING = 600_000;
const PASSED = 60_000;
/** Others may change the descriptor at the same time. */
const MAX_TRIES = 10;
/** Longer keys are hashed. */
const MAX_VARIANT = 200;

/** @typedef {import('./policy').Stored} Stored */
/** @typedef {import('./fields').Fields} Fields */

/**
 * @typedef {object} Descriptor
 * @property {string} generation
 * @property {string[] | null} vary null: no response was stored yet
 * @property {number} until when it ends, milliseconds since 1970
 * @property {boolean} passed its last response was not stored
 */

/** @typedef {{ key: string, stored: Stored, body: Buffer }} Entry */

class Store {
  #entries;
  #flights;
  #wait;

  /** @param {import('../source').Cache} cache @param {number} wait for another's response, milliseconds */
  constructor(cache, wait) {
    this.#entries = cache;
    this.#flights = cache.namespace(`${cache.name} flights`);
    this.#wait = wait;
  }

  /** @param {string} uri @returns {Descriptor | undefined} */
  descriptor(uri) {
    return this.#entries.get(`u ${uri}`);
  }

  /** The descriptor, which is made if there is none. @param {string} uri @returns {Promise<Descriptor | undefined>} */
  async ensure(uri) {
    const known = this.descriptor(uri);
    if (known !== undefined) return known;
    const made = { generation: randomBytes(9).toString('base64url'), vary: null, until: Date.now() + BEGINNING, passed: false };
    const isMade = await this.#entries.compareAndSet(`u ${uri}`, undefined, made, { ttl: BEGINNING });
    return isMade ? made : this.descriptor(uri);
  }

  /** @param {string} uri @param {Descriptor} descriptor @param {Fields} headers of the request @param {string} method */
  key(uri, { generation, vary }, headers, method) {
    const variant = variantOf(vary ?? [], headers);
    const short = variant.length > MAX_VARIANT ? createHash('sha256').update(variant).digest('base64url') : variant;
    return `${method === 'HEAD' ? 'h' : 'g'} ${generation} ${uri} ${short}`;
  }

  /**
   * The stored response; one to a GET answers a HEAD too.
   *
   * @param {string} uri
   * @param {Descriptor} descriptor
   * @param {Fields} headers of the request
   * @param {string} method
   * @returns {Entry | undefined}
   */
  find(uri, descriptor, headers, method) {
    const own = this.#read(this.key(uri, descriptor, headers, 'GET'));
    return own === undefined && method === 'HEAD' ? this.#read(this.key(uri, descriptor, headers, 'HEAD')) : own;
  }

  /** @param {string} key @returns {Entry | undefined} */
  #read(key) {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    const start = 4 + value.readUInt32LE(0);
    return { key, stored: JSON.parse(value.toString('utf8', 4, start)), body: value.subarray(start) };
  }

  /**
   * Stores a response, unless its URI was invalidated since `generation`.
   *
   * @param {{ uri: string, method: string, headers: Fields, generation: string }} of the request
   * @param {Stored} stored
   * @param {string[]} vary
   * @param {Buffer} body
   * @param {number} ttl
   */
  async keep({ uri, method, headers, generation }, stored, vary, body, ttl) {
    /** @type {string | undefined} */
    let written;
    await this.#change(uri, generation, (now) => {
      const known = now.vary ?? [];
      const all = now.vary !== null && vary.every((name) => known.includes(name)) ? known : [...new Set([...known, ...vary])].sort();
      const until = Math.max(now.passed ? 0 : now.until, Date.now() + ttl);
      const next = all === now.vary && until === now.until && !now.passed ? now : { generation, vary: all, until, passed: false };
      // Whoever sees the descriptor sees the response, and does not make it again.
      const key = this.key(uri, next, headers, method);
      if (key !== written) this.#write(key, stored, body, ttl);
      written = key;
      return next;
    });
  }

  /**
   * Replaces what is stored.
   *
   * @param {string} uri
   * @param {string} generation
   * @param {string} key
   * @param {Stored} stored
   * @param {Buffer} body
   * @param {number} ttl
   */
  async renew(uri, generation, key, stored, body, ttl) {
    const until = Date.now() + ttl;
    this.#write(key, stored, body, ttl);
    await this.#change(uri, generation, (now) => (now.until >= until ? now : { ...now, until }));
  }

  /** @param {string} key @param {Stored} stored @param {Buffer} body @param {number} ttl */
  #write(key, stored, body, ttl) {
    const head = Buffer.from(JSON.stringify(stored));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(head.length);
    // What cannot be stored is made again: nobody waits for the failure.
    this.#entries.set(key, Buffer.concat([length, head, body]), { ttl: Math.max(1, Math.ceil(ttl)) }).catch(() => {});
  }

  /** Notes that requests to the URI need not wait for each other. @param {string} uri @param {string} generation */
  async pass(uri, generation) {
    await this.#change(uri, generation, (now) => (now.vary !== null || now.passed ? now : { ...now, until: Date.now() + PASSED, passed: true }));
  }

  /**
   * Changes the descriptor if it is still of this generation; returns it, or undefined.
   *
   * @param {string} uri
   * @param {string} generation
   * @param {(now: Descriptor) => Descriptor} how returns the same if nothing is to change
   */
  async #change(uri, generation, how) {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const now = this.descriptor(uri);
      if (now === undefined || now.generation !== generation) return undefined;
      const next = how(now);
      if (next === now) return now;
      const ttl = Math.max(1, next.until - Date.now());
      if (await this.#entries.compareAndSet(`u ${uri}`, now, next, { ttl })) return next;
    }
    return undefined;
  }

  /** Removes one stored response. @param {string} key */
  async drop(key) {
    await this.#entries.delete(key);
  }

  /** Removes all that is stored for a URI. @param {string} uri */
  async invalidate(uri) {
    await this.#entries.delete(`u ${uri}`);
  }

  /**
   * Runs a task in one process of the cluster at a time; who asks in the same process while it runs shares its run.
   *
   * @param {string} key
   * @param {() => Promise<void>} task
   * @returns {Promise<void>}
   */
  async turn(key, task) {
    await this.#flights.getOrSet(key, async () => void (await task()), { hardTimeout: this.#wait });
  }
}

exports.Store = Store;
