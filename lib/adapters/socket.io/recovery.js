// @ts-check
'use strict';

// Sessions in the shared cache, and what a client has missed. Pure but for the cache.

const { unpack } = require('./log');

/** @typedef {[block: number, index: number]} Position of a packet in the log */

/**
 * @typedef {object} Session
 * @property {string} sid
 * @property {[room: string, since: number][]} rooms and the number of the last block before the socket joined
 * @property {any} data
 * @property {string} owner the uid of the adapter that has the socket
 * @property {Position} sent the last packet that was sent to the client
 * @property {number} at the last block whose packets were sent, as far as they are for the client
 * @property {number} closed when the connection ended, milliseconds since 1970; 0: it has not
 */

class Sessions {
  #cache;
  #name;

  /** @param {import('../source').Cache} cache @param {string} name */
  constructor(cache, name) {
    this.#cache = cache;
    this.#name = name;
  }

  /** @param {string} pid */
  #key(pid) {
    return `session ${this.#name} ${pid}`;
  }

  /** The session, and as it is stored. @param {string} pid @returns {{ session: Session, bytes: Buffer } | undefined} */
  read(pid) {
    const bytes = this.#cache.get(this.#key(pid));
    return bytes === undefined ? undefined : { session: unpack(bytes), bytes };
  }

  /**
   * Replaces a session; resolves to false if it is not as it is expected: its client is at another process, then.
   *
   * @param {string} pid
   * @param {Buffer | undefined} expected
   * @param {Buffer} bytes
   * @param {number} lifetime milliseconds
   */
  replace(pid, expected, bytes, lifetime) {
    return this.#cache.compareAndSet(this.#key(pid), expected, bytes, { ttl: lifetime });
  }

  /** @param {string} pid */
  async remove(pid) {
    await this.#cache.delete(this.#key(pid));
  }
}

/** Position in a text that only the log gives a meaning. @param {string} epoch @param {Position} position */
function offsetOf(epoch, [block, index]) {
  return `${epoch}.${block}.${index}`;
}

/** @param {string} offset @returns {{ epoch: string, position: Position } | null} */
function readOffset(offset) {
  const [epoch, block, index, ...rest] = offset.split('.');
  const isValid = rest.length === 0 && /^\d{1,15}$/.test(block) && /^\d{1,9}$/.test(index);
  return isValid ? { epoch, position: [Number(block), Number(index)] } : null;
}

/** @param {Position} one @param {Position} other */
function isAfter([block, index], [otherBlock, otherIndex]) {
  return block > otherBlock || (block === otherBlock && index > otherIndex);
}

/**
 * After which position a client has to be sent packets: it says what it has received last; if that is the last that was
 * sent to it, it needs nothing of what was known to have been looked through when that was noted.
 *
 * @param {Session} session
 * @param {Position} received
 * @returns {Position}
 */
function missedSince({ sent, at }, received) {
  if (isAfter(sent, received) || received[0] >= at) return received;
  return [at, Infinity];
}

/**
 * Whether a broadcast is for a socket in these rooms.
 *
 * @param {Iterable<[room: string, since: number]>} rooms
 * @param {{ rooms: string[], except: string[] }} broadcast
 * @param {number} block
 */
function isFor(rooms, broadcast, block) {
  let isIn = broadcast.rooms.length === 0;
  for (const [room, since] of rooms) {
    if (since >= block) continue;
    if (broadcast.except.includes(room)) return false;
    if (broadcast.rooms.includes(room)) isIn = true;
  }
  return isIn;
}

exports.Sessions = Sessions;
exports.isAfter = isAfter;
exports.isFor = isFor;
exports.missedSince = missedSince;
exports.offsetOf = offsetOf;
exports.readOffset = readOffset;
