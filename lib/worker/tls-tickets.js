// @ts-check
'use strict';

// TLS session tickets that any worker of the cluster accepts. The keys are in memory that the primary shares with its
// workers and updates (src/ipc/ticket_keys.rs); this file uses views of it, never copies. If the runtime has no
// ticket-key callback, a server gets the keys by `setTicketKeys`: then a ticket issued before a key change causes one
// full handshake.

const { randomBytes } = require('node:crypto');
const { constants } = require('../native');
const runtime = require('../runtime');

/** Bytes of the initialisation vector of a ticket. */
const IV_BYTES = 16;
/** Without the callback: interval between two checks for new keys, milliseconds. */
const LOOK_INTERVAL = 60_000;

/** @typedef {{ whole: Buffer, name: Buffer, hmac: Buffer, cipher: Buffer }} Key */

/** @param {Buffer} whole @returns {Key} */
function keyOf(whole) {
  const size = whole.length / 3;
  const part = (/** @type {number} */ at) => whole.subarray(at * size, (at + 1) * size);
  return { whole, name: part(0), hmac: part(1), cipher: part(2) };
}

/**
 * Contexts that use the cluster's keys, with the epoch of the keys that were last set.
 *
 * @type {WeakMap<object, number>}
 */
const shared = new WeakMap();
/** Those of them for which the program has set its own keys since. @type {WeakMap<object, Key>} */
const own = new WeakMap();

/** @param {ArrayBuffer} memory */
function shareTickets(memory) {
  const { keys, keyBytes, offset } = /** @type {import('../../binding').Constants} */ (constants).tickets;
  const epochs = new Uint32Array(memory, 0, 1);
  const ring = Array.from({ length: keys }, (_, at) => keyOf(Buffer.from(memory, offset + at * keyBytes, keyBytes)));
  const keyIn = (/** @type {number} */ epoch) => ring[epoch % keys];

  /**
   * OpenSSL's callback: returns the key for a new ticket, or the key of this one.
   *
   * @this {object} the context of the connection: that of a name (SNI), or the server's
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
    // OpenSSL checks the keys before the result: there must be some.
    return [found === undefined ? runtime.NO_TICKET : runtime.RENEW, (found ?? current).hmac, (found ?? current).cipher];
  }

  /** Servers that poll for new keys. @type {Set<WeakRef<any>>} */
  const looking = new Set();

  /**
   * Sets the keys that `getTicketKeys` returns, which also encrypt tickets without the callback.
   *
   * @param {any} context
   */
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
      // The program itself shares keys that it has set.
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
