// @ts-check
'use strict';

// Where sessions are kept: in the shared cache of this machine, or in Redis for all machines. A record is a text, which is
// replaced only where it is still the one that was read.

const { randomBytes } = require('node:crypto');

/** @typedef {import('../../types/cache').Cache} Cache */
/** @typedef {import('../fleet/fleet').Fleet} Fleet */

/** A record as it was read; `seen` is for `replace`. @typedef {{ text: string, seen: any }} Seen */

/**
 * `life`: milliseconds; 0: for any time.
 *
 * @typedef {object} Records
 * @property {(id: string) => Promise<Seen | undefined>} read
 * @property {(id: string, text: string, life: number) => Promise<void>} write whatever is there
 * @property {(id: string, seen: any, text: string, life: number) => Promise<boolean>} replace false: it is not what was
 * seen any more
 * @property {(id: string) => Promise<void>} remove
 * @property {() => AsyncIterable<[id: string, text: string]>} all
 * @property {() => Promise<void>} clear
 */

/** @implements {Records} */
class LocalRecords {
  #cache;
  #prefix;

  /** @param {Cache} cache @param {string} prefix of its keys */
  constructor(cache, prefix) {
    this.#cache = cache;
    this.#prefix = prefix;
  }

  /** @param {string} id */
  async read(id) {
    const text = this.#cache.get(this.#prefix + id);
    return text === undefined ? undefined : { text, seen: text };
  }

  /** @param {string} id @param {string} text @param {number} life */
  async write(id, text, life) {
    await this.#cache.set(this.#prefix + id, text, { ttl: life });
  }

  /** @param {string} id @param {string} seen @param {string} text @param {number} life */
  replace(id, seen, text, life) {
    return this.#cache.compareAndSet(this.#prefix + id, seen, text, { ttl: life });
  }

  /** @param {string} id */
  async remove(id) {
    await this.#cache.delete(this.#prefix + id);
  }

  /** @returns {AsyncGenerator<[id: string, text: string]>} */
  async *all() {
    for await (const key of this.#cache.keys()) {
      if (!key.startsWith(this.#prefix)) continue;
      const text = this.#cache.get(key);
      if (text !== undefined) yield [key.slice(this.#prefix.length), text];
    }
  }

  async clear() {
    await this.#cache.invalidate(`${this.#prefix}*`);
  }
}

/** Versions that `FleetRecords.store` replaces. */
const ANY = '';
const NONE = '0';

/**
 * How long Redis remembers that a record was removed, milliseconds: a machine that was cut off for less does not bring it
 * back.
 */
const REMOVED_LIFE = 3_600_000;

/**
 * A record in Redis. `mark` is of the write that has made it; `end` in milliseconds since 1970, 0: never; a text that is
 * empty: it was removed.
 *
 * @typedef {{ mark: string, end: number, text: string }} Stored
 * @typedef {Stored & { version: string }} Loaded
 */

/** What a write stores. @param {string} text @param {number} life @returns {Stored} */
function madeOf(text, life) {
  return { mark: randomBytes(9).toString('base64'), end: life === 0 ? 0 : Date.now() + life, text };
}

/** @returns {Stored} */
const removal = () => madeOf('', REMOVED_LIFE);

/** @implements {Records} */
class FleetRecords {
  #fleet;
  #space;

  /** @param {Fleet} fleet @param {string} space */
  constructor(fleet, space) {
    this.#fleet = fleet;
    this.#space = space;
  }

  /** Also a record that was removed. @param {string} id @returns {Promise<Loaded | undefined>} */
  async load(id) {
    const found = await this.#fleet.load(this.#space, id);
    return found === undefined ? undefined : loadedOf(found);
  }

  /** Resolves to the new version; undefined: another one than `expected` is there. @param {string} id @param {Stored} made @param {string} expected */
  store(id, { mark, end, text }, expected) {
    const life = end === 0 ? 0 : Math.max(end - Date.now(), 1);
    return this.#fleet.store(this.#space, id, `${JSON.stringify([mark, end])}\n${text}`, life, expected);
  }

  /** @param {string} id */
  async read(id) {
    const found = await this.load(id);
    return found === undefined || found.text === '' ? undefined : { text: found.text, seen: found.version };
  }

  /** @param {string} id @param {string} text @param {number} life */
  async write(id, text, life) {
    await this.store(id, madeOf(text, life), ANY);
  }

  /** @param {string} id @param {string} seen @param {string} text @param {number} life */
  async replace(id, seen, text, life) {
    return (await this.store(id, madeOf(text, life), seen)) !== undefined;
  }

  /** @param {string} id */
  async remove(id) {
    await this.store(id, removal(), ANY);
  }

  /** @returns {AsyncGenerator<[id: string, text: string]>} */
  async *all() {
    for (const { name, ...found } of await this.#fleet.list(this.#space)) {
      const { text } = loadedOf(found);
      if (text !== '') yield [name, text];
    }
  }

  clear() {
    return this.#fleet.clear(this.#space);
  }
}

/** @param {{ version: string, value: Buffer }} found @returns {Loaded} */
function loadedOf({ version, value }) {
  const all = value.toString();
  const line = all.indexOf('\n');
  const [mark, end] = JSON.parse(all.slice(0, line));
  return { version, mark, end, text: all.slice(line + 1) };
}

module.exports = { ANY, FleetRecords, LocalRecords, NONE, REMOVED_LIFE, madeOf, removal };
