// @ts-check
'use strict';

// Node's internal state of a datagram socket.
//
// Relies on: the symbol 'state symbol' of a dgram.Socket, whose value has `handle` (libuv's: `fd`, `bind(address, port,
// flags)`, `recvStart()`, `recvStop()`, `close()`, `addMembership` and its like, which return 0 or libuv's negative
// number), `bindState` (0: not bound, 2: bound) and `reusePort`; `flags`: 1 is `ipv6Only`. `bind` (and `bindSync`, from
// Node.js 26 on) looks the name up and then calls the handle's `bind`.
// Seen on: Node.js 20, 22, 24, 26.

const dgram = require('node:dgram');

/** libuv's flag for `ipv6Only`; that for `reuseAddr` is public. */
const IPV6_ONLY = 1;

const UNBOUND = 0;
const BOUND = 2;

/** @type {symbol | undefined} */
let stateSymbol;

/** @param {any} socket @returns {any} */
function stateOf(socket) {
  stateSymbol ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return stateSymbol === undefined ? undefined : socket[stateSymbol];
}

/** Whether a datagram socket has the internal state that this file expects. @param {any} socket */
function isKnown(socket) {
  return stateOf(socket) !== undefined;
}

/** The handle of a socket that is neither bound nor binding; undefined otherwise. @param {any} socket */
function unboundHandle(socket) {
  const { handle, bindState } = stateOf(socket);
  return handle && bindState === UNBOUND ? handle : undefined;
}

/** @param {any} socket */
function isBound(socket) {
  return stateOf(socket)?.bindState === BOUND;
}

/** @param {any} socket */
function hasReusePort(socket) {
  return Boolean(stateOf(socket)?.reusePort);
}

/**
 * Calls `before` with each socket that a program binds, and calls the returned function after Node's `bind`.
 *
 * @param {(socket: any, args: any[]) => () => void} before
 */
function onBind(before) {
  const prototype = /** @type {any} */ (dgram.Socket.prototype);
  for (const name of ['bind', 'bindSync'].filter((name) => name in prototype)) {
    const own = prototype[name];
    prototype[name] = {
      /** @this {any} @param {any[]} args */
      [name](...args) {
        const after = before(this, args);
        const result = Reflect.apply(own, this, args);
        after();
        return result;
      },
    }[name];
  }
}

module.exports = { IPV6_ONLY, hasReusePort, isBound, isKnown, onBind, unboundHandle };
