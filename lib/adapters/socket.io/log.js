// @ts-check
'use strict';

// The packets of a namespace in the shared cache, in one order for all processes. A block holds what one process has
// appended at once, and the key of the block before it; the head names the last block and its number. Who appends writes
// the block first, then replaces the head if nobody else has done so meanwhile: blocks are numbered without gaps, and the
// death of a process leaves nothing half done.

const { randomBytes } = require('node:crypto');
const { decode, encode } = require('../../messages/body');

/** The head has changed so often meanwhile: something else is wrong. */
const MAX_TRIES = 1000;

/** Adapters of other machines that are known, those that have sent last. */
const MAX_FOREIGN = 1000;

/**
 * @typedef {object} Head
 * @property {string} epoch another one: the log was lost, and is a new one
 * @property {number} number of the last block, from 1
 * @property {string} block its key
 * @property {Record<string, number>} [foreign] the last batch of each adapter of other machines
 */

/** What an adapter of another machine has appended there: its batches are numbered. @typedef {{ uid: string, batch: number, entries: any[] }} Foreign */

/** @typedef {{ number: number, before: string, entries: any[] }} Block */

class Log {
  #cache;
  #head;
  #lifetime;

  /** @param {import('../source').Cache} cache @param {string} name @param {number} lifetime of a block, milliseconds */
  constructor(cache, name, lifetime) {
    this.#cache = cache;
    this.#head = `head ${name}`;
    this.#lifetime = lifetime;
  }

  /** @returns {Head | undefined} */
  head() {
    return this.#cache.get(this.#head);
  }

  /** Appends a block; resolves when all processes see it. @param {any[]} entries */
  async append(entries) {
    await this.#append(entries, (head) => head?.foreign);
  }

  /**
   * Appends what an adapter of another machine has appended there, unless another process has done so; resolves to whether
   * this one did.
   *
   * @param {Foreign} foreign
   */
  appendForeign({ uid, batch, entries }) {
    return this.#append(entries, (head) => {
      const { [uid]: last = 0, ...others } = head?.foreign ?? {};
      return last >= batch ? null : Object.fromEntries([...Object.entries(others).slice(1 - MAX_FOREIGN), [uid, batch]]);
    });
  }

  /**
   * @param {any[]} entries
   * @param {(head: Head | undefined) => Record<string, number> | undefined | null} foreignOf null: they are in the log already
   */
  async #append(entries, foreignOf) {
    const block = `block ${randomBytes(9).toString('base64url')}`;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const head = this.head();
      const foreign = foreignOf(head);
      if (foreign === null) return false;
      const number = (head?.number ?? 0) + 1;
      const written = this.#cache.set(block, pack({ number, before: head?.block ?? '', entries }), { ttl: this.#lifetime });
      const next = { epoch: head?.epoch ?? randomBytes(6).toString('base64url'), number, block, ...(foreign && { foreign }) };
      const [isNext] = await Promise.all([this.#cache.compareAndSet(this.#head, head, next, { ttl: 0 }), written]);
      if (isNext) return true;
    }
    throw new Error('the log of Socket.IO cannot be appended to');
  }

  /**
   * The blocks from number `from` to the head, in order; null: some of them are gone.
   *
   * @param {Head} head
   * @param {number} from
   * @returns {Block[] | null}
   */
  blocks(head, from) {
    /** @type {Block[]} */
    const found = [];
    for (let key = head.block, number = head.number; number >= from && number > 0; number -= 1) {
      const value = this.#cache.get(key);
      if (value === undefined) return null;
      /** @type {Block} */
      const block = unpack(value);
      found.push(block);
      key = block.before;
    }
    return found.reverse();
  }
}

/** A value with Buffers anywhere in it, as bytes. @param {any} value */
function pack(value) {
  const { format, body } = encode(value, false);
  return Buffer.concat([Buffer.of(format), Buffer.from(body)]);
}

/** @param {Buffer} bytes */
function unpack(bytes) {
  const [format] = bytes;
  const body = bytes.subarray(1);
  return decode(format, format === jsonText ? body.toString() : body);
}

const jsonText = encode({}, false).format;

exports.Log = Log;
exports.pack = pack;
exports.unpack = unpack;
