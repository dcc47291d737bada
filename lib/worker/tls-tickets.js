// @ts-check
'use strict';

// TLS session tickets that any worker of the cluster opens. The keys lie in memory that the primary shares with its
// workers and changes (src/ipc/tickets.rs); they are views over it, never copies. This is the only code that touches what
// Node keeps to itself about tickets: the callback of a secure context, which its tests use and its documents do not name.
// Where there is none a server gets the keys by `setTicketKeys`: then a ticket made before a change costs one full
// handshake.

const { randomBytes } = require('node:crypto');
const tls = require('node:tls');

const KEYS = 4;
const PART = 16;
const KEY = 3 * PART;
/** Bytes before the first key. */
const FIRST = 8;
/** Without the callback: between two looks for new keys, milliseconds. */
const LOOK_INTERVAL = 60_000;

/** What the callback answers: whether there is a ticket, and whether a new one is to be made. */
const NO_TICKET = 0;
const TICKET = 1;
const RENEW = 2;

/** @typedef {{ whole: Buffer, name: Buffer, hmac: Buffer, cipher: Buffer }} Key */

/** @param {Buffer} whole @returns {Key} */
function keyOf(whole) {
  const part = (/** @type {number} */ at) => whole.subarray(at * PART, (at + 1) * PART);
  return { whole, name: part(0), hmac: part(1), cipher: part(2) };
}

/** Contexts whose tickets are made with the cluster's keys, and the epoch of those that they were last given. @type {WeakMap<object, number>} */
const shared = new WeakMap();
/** Of those, the ones whose program has set keys since. @type {WeakMap<object, Key>} */
const own = new WeakMap();

/** @param {ArrayBuffer} memory */
function shareTickets(memory) {
  const epochs = new Uint32Array(memory, 0, 1);
  const ring = Array.from({ length: KEYS }, (_, at) => keyOf(Buffer.from(memory, FIRST + at * KEY, KEY)));
  const keyIn = (/** @type {number} */ epoch) => ring[epoch % KEYS];

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
    if (isNew) return [TICKET, current.hmac, current.cipher, current.name, randomBytes(PART)];
    if (name.equals(current.name)) return [TICKET, current.hmac, current.cipher];
    const others = set === undefined ? [keyIn(epoch - 1), keyIn(epoch + 1)] : [];
    const found = others.find((key) => name.equals(key.name));
    // The keys are looked at before the answer is: there must be some.
    return [found === undefined ? NO_TICKET : RENEW, (found ?? current).hmac, (found ?? current).cipher];
  }

  /** Servers that look for new keys by themselves. @type {Set<WeakRef<any>>} */
  const looking = new Set();

  /** What `getTicketKeys` tells, and without the callback what tickets are made with. @param {any} context */
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
      else refresh(server._sharedCreds?.context);
    }
  }

  /** @param {any} server whose context is new */
  function adopt(server) {
    const context = server._sharedCreds?.context;
    // Keys that the program has given are its own to share.
    if (context === undefined || server.ticketKeys) return;
    shared.set(context, 0);
    if (typeof context.enableTicketKeyCallback === 'function') {
      // On what all contexts have in common: a connection may have come to the context of a name by the time it gets its
      // ticket.
      Object.getPrototypeOf(context).onticketkeycallback ??= answer;
      context.enableTicketKeyCallback();
      return;
    }
    refresh(context);
    if (looking.size === 0) setInterval(look, LOOK_INTERVAL).unref();
    looking.add(new WeakRef(server));
  }

  const prototype = /** @type {any} */ (tls.Server.prototype);
  const { setSecureContext, setTicketKeys, getTicketKeys } = prototype;

  prototype.setSecureContext = function (/** @type {any[]} */ ...args) {
    const result = Reflect.apply(setSecureContext, this, args);
    adopt(this);
    return result;
  };

  prototype.setTicketKeys = function (/** @type {any[]} */ ...args) {
    const result = Reflect.apply(setTicketKeys, this, args);
    const context = this._sharedCreds?.context;
    const [keys] = args;
    if (shared.has(context)) own.set(context, keyOf(Buffer.from(new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength))));
    return result;
  };

  prototype.getTicketKeys = function (/** @type {any[]} */ ...args) {
    refresh(this._sharedCreds?.context);
    return Reflect.apply(getTicketKeys, this, args);
  };
}

module.exports = { shareTickets };
