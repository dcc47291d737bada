// @ts-check
'use strict';

// Reads entries from the cache's memory, which another process changes meanwhile: `src/cache/layout.rs` documents it. A
// bucket's version tells whether what was read is whole.

const { constants } = require('../native');
const runtime = require('../runtime');

const { layout, kind: kinds } = constants?.cache ?? { layout: {}, kind: {} };

/** Numbers of 32 bits. */
const [MASK, SEED, ARENA, END, RETIRED, APPLIED, BUCKETS] = [layout.MASK, layout.SEED, layout.ARENA, layout.END, layout.RETIRED, layout.APPLIED / 4, layout.BUCKETS / 4];
const [NEXT, HASH, SHAPE, VALUE_BYTES, MORE, GRACE, EARLY] = [layout.NEXT, layout.HASH, layout.SHAPE, layout.VALUE_BYTES, layout.MORE, layout.GRACE, layout.EARLY].map((at) => at / 4);
const EXPIRES = layout.EXPIRES / 8;
/** Bytes. */
const { KEY, UNIT, HINT_SPAN, MORE_DATA } = layout;
const [MORE_NEXT, MORE_BYTES] = [layout.MORE_NEXT / 4, layout.MORE_BYTES / 4];
const WORDS = UNIT / 4;
const { TEXT, WIDE_TEXT, JSON_TEXT, WIDE_JSON, COUNTER } = kinds;

/** More entries or blocks than there are mean that they were changed meanwhile. */
const MAX_STEPS = 64;
/** A bucket that changes all the time is left alone after so many tries. */
const MAX_TRIES = 64;

/** What was read of an entry. */
class Found {
  constructor() {
    /** The version of its bucket; what was read is valid while it is the same. */
    this.version = 1;
    /** The number of its bucket's version. */
    this.cell = 0;
    /** The number of its hint. */
    this.hint = 0;
    /** Milliseconds since 1970; 0: never. */
    this.expires = 0;
    /** Milliseconds. */
    this.grace = 0;
    this.early = 0;
    this.kind = 0;
    /** A string, a Buffer, or undefined for a counter. @type {any} */
    this.value = undefined;
    /** Of a counter. */
    this.counter = 0;
    this.generation = 0;
    /** Bytes of the value. */
    this.size = 0;
    /** It was read since the near maps turned over. */
    this.isUsed = false;
  }
}

/** The beginning of a hash of keys, continued by `hashOn`. @param {number} state @param {string} text */
function hashOn(state, text) {
  for (let at = 0; at < text.length; at += 1) {
    state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
    state ^= state >>> 15;
  }
  return state;
}

/** @param {number} state */
function hashEnd(state) {
  const mixed = Math.imul(state, 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}

/**
 * @typedef {object} Listed the keys of the first buckets of an earlier memory
 * @property {number} mask of its buckets
 * @property {number} to the first bucket that was not listed
 */

class Memory {
  /** @param {{ cache: ArrayBuffer, hints: ArrayBuffer }} mapped @param {number} client this process's number */
  constructor({ cache, hints }, client) {
    this.words = new Int32Array(cache);
    this.doubles = new Float64Array(cache);
    this.units = new Uint16Array(cache);
    this.bytes = Buffer.from(cache);
    this.hints = new Uint8Array(hints);
    this.mask = this.words[MASK];
    this.arena = this.words[ARENA];
    this.end = this.words[END];
    this.seed = this.words[SEED];
    this.applied = APPLIED + client;
  }

  /** The number of this process's last request that is visible. */
  done() {
    return runtime.openingLoad(this.words, this.applied);
  }

  /** Whether what was read is still valid. @param {Found} found */
  isValid(found) {
    return this.words[found.cell] === found.version;
  }

  /** Notes that the entry was read: what is read often is evicted late. @param {Found} found */
  noteRead(found) {
    const hint = this.hints[found.hint];
    if (hint < 3) this.hints[found.hint] = hint + 1;
  }

  /**
   * Reads the entry with the key `prefix + key` into `into`; false: there is none.
   *
   * @param {string} prefix
   * @param {number} state the beginning of the hash, of the prefix
   * @param {string} key
   * @param {Found} into
   */
  read(prefix, state, key, into) {
    const { words } = this;
    const hash = hashEnd(hashOn(state, key));
    const length = prefix.length + key.length;
    const cell = BUCKETS + (hash & this.mask) * 2;
    tries: for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const version = runtime.openingLoad(words, cell);
      let reference = words[cell + 1];
      for (let steps = 0; reference !== 0; steps += 1) {
        if (reference < 0 || reference >= this.end - 2 || steps > MAX_STEPS) continue tries;
        const at = reference * WORDS;
        if (words[at + HASH] === hash && (words[at + SHAPE] & 0xffff) === length && this.#hasKey(reference, prefix, key)) {
          const isWhole = this.#copy(reference, length, into);
          if (runtime.closingLoad(words, cell) !== version || !isWhole) continue tries;
          into.cell = cell;
          // While its bucket is being changed it can be returned, but not kept: an earlier version never comes back.
          into.version = version & 1 ? version - 1 : version;
          return true;
        }
        reference = words[at + NEXT];
      }
      if (runtime.closingLoad(words, cell) === version) return false;
    }
    return false;
  }

  /** Whether there is another memory: what was not found before this call may be there. */
  isRetired() {
    return runtime.closingLoad(this.words, RETIRED) !== 0;
  }

  /** Buckets of entries. */
  get buckets() {
    return this.mask + 1;
  }

  /**
   * The keys that begin with the prefix, without it, of the entries that are still fresh, in some of the buckets. What is
   * there all the time is among them, once.
   *
   * @param {string} prefix
   * @param {number} now
   * @param {number} from the first bucket
   * @param {number} to the bucket after the last
   * @param {Listed[]} listed which keys are not wanted
   */
  keys(prefix, now, from, to, listed) {
    /** @type {string[]} */
    const keys = [];
    for (let bucket = from; bucket < to; bucket += 1) {
      const cell = BUCKETS + bucket * 2;
      if (this.words[cell + 1] === 0) continue;
      const before = keys.length;
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        keys.length = before;
        const version = runtime.openingLoad(this.words, cell);
        const isWhole = this.#addKeys(cell, prefix, now, keys, listed);
        if (runtime.closingLoad(this.words, cell) === version && isWhole) break;
      }
    }
    return keys;
  }

  /** False: the bucket was changed meanwhile. @param {number} cell @param {string} prefix @param {number} now @param {string[]} keys @param {Listed[]} listed */
  #addKeys(cell, prefix, now, keys, listed) {
    const { words } = this;
    let reference = words[cell + 1];
    for (let steps = 0; reference !== 0; steps += 1) {
      if (reference < 0 || reference >= this.end - 2 || steps > MAX_STEPS) return false;
      const at = reference * WORDS;
      const length = words[at + SHAPE] & 0xffff;
      const expires = this.doubles[reference * (UNIT / 8) + EXPIRES];
      const isFresh = expires === 0 || expires > now;
      const hash = words[at + HASH];
      const isWanted = listed.every(({ mask, to }) => (hash & mask) >= to);
      if (isFresh && isWanted && length >= prefix.length && this.#hasKey(reference, prefix, '')) keys.push(this.#keyAfter(reference, prefix.length, length));
      reference = words[at + NEXT];
    }
    return true;
  }

  /** The units of a key from one on. @param {number} reference @param {number} from @param {number} length units of the key */
  #keyAfter(reference, from, length) {
    const at = reference * UNIT + KEY;
    const isWide = (this.words[reference * WORDS + SHAPE] >>> 24) & 1;
    return isWide ? this.bytes.toString('utf16le', at + from * 2, at + length * 2) : this.bytes.toString('latin1', at + from, at + length);
  }

  /** @param {number} reference @param {string} prefix @param {string} key */
  #hasKey(reference, prefix, key) {
    const isWide = (this.words[reference * WORDS + SHAPE] >>> 24) & 1;
    return isWide ? this.#startsWith(this.units, (reference * UNIT + KEY) / 2, prefix, key) : this.#startsWith(this.bytes, reference * UNIT + KEY, prefix, key);
  }

  /** @param {Uint8Array | Uint16Array} units @param {number} at @param {string} prefix @param {string} key */
  #startsWith(units, at, prefix, key) {
    let index = 0;
    while (index < prefix.length && units[at + index] === prefix.charCodeAt(index)) index += 1;
    if (index < prefix.length) return false;
    const start = at + prefix.length;
    index = 0;
    while (index < key.length && units[start + index] === key.charCodeAt(index)) index += 1;
    return index === key.length;
  }

  /**
   * Copies an entry; false: it was changed meanwhile.
   *
   * @param {number} reference
   * @param {number} length units of the key
   * @param {Found} into
   */
  #copy(reference, length, into) {
    const { words } = this;
    const at = reference * WORDS;
    const shape = words[at + SHAPE];
    const keyBytes = (shape >>> 24) & 1 ? length * 2 : length;
    const valueAt = reference * UNIT + KEY + ((keyBytes + 3) & -4);
    const size = words[at + VALUE_BYTES];
    const more = words[at + MORE];
    into.kind = (shape >>> 16) & 0xff;
    into.expires = this.doubles[reference * (UNIT / 8) + EXPIRES];
    into.grace = words[at + GRACE];
    into.early = words[at + EARLY];
    into.hint = Math.floor((reference * UNIT - this.arena) / HINT_SPAN);
    into.size = size;
    if (size < 0 || size > this.bytes.length) return false;
    if (into.kind === COUNTER) {
      into.counter = words[valueAt / 4] >>> 0;
      into.generation = words[valueAt / 4 + 1] & 0xffff;
      into.value = undefined;
      return true;
    }
    if (more === 0) {
      if (valueAt + size > this.bytes.length) return false;
      into.value = valueOf(this.bytes, into.kind, valueAt, size);
      return true;
    }
    const whole = this.#gather(valueAt, size, more);
    if (whole === null) return false;
    into.value = valueOf(whole, into.kind, 0, size);
    return true;
  }

  /**
   * A value of several blocks; null: it was changed meanwhile.
   *
   * @param {number} valueAt
   * @param {number} size
   * @param {number} more
   */
  #gather(valueAt, size, more) {
    const { words } = this;
    /** Where the parts after the first are, and their bytes. @type {number[]} */
    const parts = [];
    let first = size;
    for (let reference = more; reference !== 0; reference = words[reference * WORDS + MORE_NEXT]) {
      if (reference < 0 || reference >= this.end - 1 || parts.length > 2 * MAX_STEPS) return null;
      const bytes = words[reference * WORDS + MORE_BYTES];
      const at = reference * UNIT + MORE_DATA;
      if (bytes < 0 || at + bytes > this.bytes.length) return null;
      first -= bytes;
      parts.push(at, bytes);
    }
    if (first < 0 || valueAt + first > this.bytes.length) return null;
    const whole = Buffer.allocUnsafe(size);
    this.bytes.copy(whole, 0, valueAt, valueAt + first);
    let done = first;
    for (let index = 0; index < parts.length; index += 2) {
      done += this.bytes.copy(whole, done, parts[index], parts[index] + parts[index + 1]);
    }
    return whole;
  }
}

/** @param {Buffer} bytes @param {number} kind @param {number} at @param {number} size */
function valueOf(bytes, kind, at, size) {
  if (kind === TEXT || kind === JSON_TEXT) return runtime.latin1(bytes, at, at + size);
  if (kind === WIDE_TEXT || kind === WIDE_JSON) return bytes.toString('utf16le', at, at + size);
  return Buffer.from(bytes.subarray(at, at + size));
}

exports.Found = Found;
exports.Memory = Memory;
exports.hashOn = hashOn;
