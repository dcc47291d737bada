// @ts-check
'use strict';

// TLS session tickets that any worker of the cluster opens. The keys lie in memory that the primary shares with its
// workers and changes (src/ipc/tickets.rs); they are views over it, never copies. Where the runtime does not ask for the
// key of each ticket, a server gets the keys by `setTicketKeys`: then a ticket made before a change costs one full
// handshake.

const { randomBytes } = require('node:crypto');
const { constants } = require('../native');
const runtime = require('../runtime');

/** Bytes of the initialisation vector of a ticket. */
const IV_BYTES = 16;
/** Where the runtime does not ask: between two looks for new keys, milliseconds. */
const LOOK_INTERVAL = 60_000;

/** @typedef {{ whole: Buffer, name: Buffer, hmac: Buffer, cipher: Buffer }} Key */

/** @param {Buffer} whole @returns {Key} */
function keyOf(whole) {
  const size = whole.length / 3;
  const part = (/** @type {number} */ at) => whole.subarray(at * size, (at + 1) * size);
  return { whole, name: part(0), hmac: part(1), cipher: part(2) };
}

/** Contexts whose tickets are made with the cluster's keys, and the epoch of those that they were last given. @type {WeakMap<object, number>} */
const shared = new WeakMap();
/** Of those, the ones whose program has set keys since. @type {WeakMap<object, Key>} */
const own = new WeakMap();

/** @param {ArrayBuffer} memory */
function shareTickets(memory) {
  const { keys, keyBytes, offset } = /** @type {import('../../binding').Constants} */ (constants).tickets;
  const epochs = new Uint32Array(memory, 0, 1);
  const ring = Array.from({ length: keys }, (_, at) => keyOf(Buffer.from(memory, offset + at * keyBytes, keyBytes)));
  const keyIn = (/** @type {number} */ epoch) => ring[epoch % keys];

  /**
   * As OpenSSL asks: for the key of a new ticket, or the key of this one.
   *
   * @this {object} the context that the connection has come to: that of a name (SNI), or the server's
   * @param {Buffer} name @param {Buffer} iv @param {boolean} isNew
   */
  function answer(name, iv, isNew) {
    const epoch = epochs[0];
    const set = own.get(this);
    const current = set ?? keyIn(epoch);
    if (isNew) return [runtime.TICKET, current.hmac, current.cipher, current.name, randomBytes(IV_BYTES)];
    if (name.equals(current.name)) return [runtime.TICKET, current.hmac, current.cipher];
    const others = set === undefined ? [keyIn(epoch - 1), keyIn(epoch + 1)] : [];
    const found = others.find((key) => name.equals(key.name));
    // The keys are looked at before the answer is: there must be some.
    return [found === undefined ? runtime.NO_TICKET : runtime.RENEW, (found ?? current).hmac, (found ?? current).cipher];
  }

  /** Servers that look for new keys by themselves. @type {Set<WeakRef<any>>} */
  const looking = new Set();

  /** What `getTicketKeys` returns, and what tickets are made with where the runtime does not ask. @param {any} context */
  function refresh(context) {
    const known = shared.get(context);
    if (known === undefined || known === epochs[0] || own.has(context)) return;
    shared.set(context, epochs[0]);
    context.setTicketKeys(keyIn(epochs[0]).whole);
  }

  function look() {
    for (const reference of looking) {
      const server = reference.deref();
      if (server === undefined) looking.delete(reference);
      else refresh(runtime.contextOf(server));
    }
  }

  runtime.onTicketKeys({
    made(server) {
      const context = runtime.contextOf(server);
      // Keys that the program has given are its own to share.
      if (context === undefined || server.ticketKeys) return;
      shared.set(context, 0);
      if (runtime.answerTicketKeys(context, answer)) return;
      refresh(context);
      if (looking.size === 0) setInterval(look, LOOK_INTERVAL).unref();
      looking.add(new WeakRef(server));
    },
    set(server, keys) {
      const context = runtime.contextOf(server);
      if (shared.has(context)) own.set(context, keyOf(Buffer.from(new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength))));
    },
    read: (server) => refresh(runtime.contextOf(server)),
  });
}

module.exports = { shareTickets };
