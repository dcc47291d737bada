// @ts-check
'use strict';

// The ticket-key callback of TLS session tickets.
//
// Relies on: `server._sharedCreds.context` (OpenSSL's context of a tls.Server), `context.enableTicketKeyCallback()` and
// `onticketkeycallback(name, iv, isNew)`, with the context as its receiver, which Node's tests use and its
// documentation does not mention. It returns [0]: unknown ticket, [1]: here is its key, [2]: here is its key, and issue
// a new ticket; then the HMAC key, the cipher's key and, for a new ticket, the key's name and an initialisation vector.
// Seen on: Node.js 20, 22, 24, 26.

const tls = require('node:tls');

const NO_TICKET = 0;
const TICKET = 1;
const RENEW = 2;

/** The context of a server; undefined before it has one. @param {any} server @returns {any} */
function contextOf(server) {
  return server._sharedCreds?.context;
}

/**
 * Makes the context get its ticket keys from `answer`. False if the runtime does not support it.
 *
 * @param {any} context
 * @param {(this: any, name: Buffer, iv: Buffer, isNew: boolean) => any[]} answer the same for every context
 */
function answerTicketKeys(context, answer) {
  if (typeof context.enableTicketKeyCallback !== 'function') return false;
  // On the prototype of all contexts: a connection may have switched to the context of a name (SNI) before it gets its
  // ticket.
  Object.getPrototypeOf(context).onticketkeycallback ??= answer;
  context.enableTicketKeyCallback();
  return true;
}

/**
 * Calls `made` with each TLS server that gets a context, `set` when a program sets a server's ticket keys, and `read`
 * before they are read.
 *
 * @param {{ made(server: any): void, set(server: any, keys: any): void, read(server: any): void }} hooks
 */
function onTicketKeys({ made, set, read }) {
  const prototype = /** @type {any} */ (tls.Server.prototype);
  const { setSecureContext, setTicketKeys, getTicketKeys } = prototype;

  prototype.setSecureContext = function (/** @type {any[]} */ ...args) {
    const result = Reflect.apply(setSecureContext, this, args);
    made(this);
    return result;
  };

  prototype.setTicketKeys = function (/** @type {any[]} */ ...args) {
    const result = Reflect.apply(setTicketKeys, this, args);
    set(this, args[0]);
    return result;
  };

  prototype.getTicketKeys = function (/** @type {any[]} */ ...args) {
    read(this);
    return Reflect.apply(getTicketKeys, this, args);
  };
}

module.exports = { NO_TICKET, RENEW, TICKET, answerTicketKeys, contextOf, onTicketKeys };
