// @ts-check
'use strict';

// Bun's internal state of a datagram socket. In the place of libuv's handle drover gets one of this file, whose `bind`
// binds the socket, and which takes over a socket of another process.
//
// Relies on: the symbol 'state symbol' of a dgram.Socket, whose value has `handle` (`lookup(name, callback)`, null once closed),
// `bindState` (0: not bound, 1: binding, 2: bound), `reuseAddr`, `reusePort`, `ipv6Only`, and `sharedHandle`, whose `close` is
// called when the socket closes; `bind({ fd })` takes over a descriptor.
// Seen on: Bun 1.4.4, 1.4.5.

const dgram = require('node:dgram');
const { constants } = require('node:os');
const util = require('node:util');

/** As Node's flag for `ipv6Only`; that for `reuseAddr` is public. */
const IPV6_ONLY = 1;

const [UNBOUND, BINDING, BOUND] = [0, 1, 2];

/** Methods that change the groups of a socket. */
const MEMBERSHIPS = ['addMembership', 'dropMembership', 'addSourceSpecificMembership', 'dropSourceSpecificMembership'];

const prototype = /** @type {any} */ (dgram.Socket.prototype);
const { bind: ownBind } = prototype;
const ownMemberships = MEMBERSHIPS.map((name) => [name, prototype[name]]);

/** @type {symbol | undefined} */
let stateSymbol;

/** @param {any} socket @returns {any} */
function stateOf(socket) {
  stateSymbol ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return stateSymbol === undefined ? undefined : socket[stateSymbol];
}

class Handle {
  /** Makes Bun read no more. @type {() => number} */
  #stop = () => 0;

  /** @param {any} socket */
  constructor(socket) {
    this.socket = socket;
    for (const [name, own] of ownMemberships) {
      /** @type {any} */ (this)[name] = (/** @type {any[]} */ ...names) => numberOf(() => Reflect.apply(own, socket, names));
    }
  }

  /** @param {string} address @param {number} port */
  bind(address, port) {
    return this.#start({ address, port, exclusive: true });
  }

  /** Takes over a descriptor. @param {number} fd @param {() => number} stop makes Bun read no more from it */
  adopt(fd, stop) {
    const failed = this.#start({ fd, exclusive: true });
    if (failed !== 0) return failed;
    this.#stop = stop;
    stateOf(this.socket).sharedHandle = this;
    return 0;
  }

  /** @param {any} options */
  #start(options) {
    stateOf(this.socket).bindState = UNBOUND;
    return numberOf(() => Reflect.apply(ownBind, this.socket, [options]));
  }

  /** Bun has none: it reads from the beginning. */
  recvStart() {
    return 0;
  }

  /** A socket that does not read does not keep the event loop alive. */
  recvStop() {
    this.socket.unref();
    return this.#stop();
  }

  /** Called when the socket closes. */
  close() {}
}

/** Calls it; returns 0 or the negative number of its error. @param {() => void} act */
function numberOf(act) {
  try {
    act();
    return 0;
  } catch (error) {
    const { errno } = /** @type {any} */ (error);
    if (typeof errno !== 'number') throw error;
    return -Math.abs(errno);
  }
}

/** @type {WeakMap<object, Handle>} */
const handles = new WeakMap();

/** @param {any} socket */
function handleFor(socket) {
  let handle = handles.get(socket);
  if (handle === undefined) {
    handle = new Handle(socket);
    handles.set(socket, handle);
  }
  return handle;
}

/** Whether a datagram socket has the internal state that this file expects. @param {any} socket */
function isKnown(socket) {
  return stateOf(socket) !== undefined;
}

/** The handle of a socket that is neither bound nor binding; undefined otherwise. @param {any} socket @returns {any} */
function unboundHandle(socket) {
  const { handle, bindState } = stateOf(socket);
  return handle && bindState === UNBOUND ? handleFor(socket) : undefined;
}

/** @param {any} socket */
function isBound(socket) {
  return stateOf(socket)?.bindState === BOUND;
}

/** @param {any} socket */
function hasReusePort(socket) {
  return Boolean(stateOf(socket)?.reusePort);
}

/** Node's error. @param {number} number negative @param {string} syscall @param {any} [more] */
function errorOf(number, syscall, more = {}) {
  const [code] = util.getSystemErrorMap().get(number) ?? [`E${-number}`];
  const where = more.address === undefined ? '' : ` ${more.address}:${more.port}`;
  return Object.assign(new Error(`${syscall} ${code}${where}`), { errno: number, code, syscall, ...more });
}

/** Calls the listener once the socket listens. @param {any} socket @param {() => void} listener */
function onceBound(socket, listener) {
  const remove = () => {
    socket.removeListener('error', remove);
    socket.removeListener('listening', bound);
  };
  const bound = () => {
    remove();
    listener.call(socket);
  };
  socket.on('error', remove);
  socket.on('listening', bound);
}

/**
 * Calls `before` with each socket that a program binds, and calls the returned function after Bun's `bind`.
 *
 * @param {(socket: any, args: any[]) => () => void} before
 */
function onBind(before) {
  prototype.bind = function bind(/** @type {any[]} */ ...args) {
    const after = before(this, args);
    const [first, second] = args;
    const options = first !== null && typeof first === 'object' ? first : { port: typeof first === 'function' ? 0 : first, address: second };
    const state = stateOf(this);
    const isOther = typeof options.fd === 'number' || typeof options.recvStart === 'function';
    if (isOther || unboundHandle(this) === undefined) {
      const result = Reflect.apply(ownBind, this, args);
      after();
      return result;
    }
    const callback = args.at(-1);
    if (typeof callback === 'function') onceBound(this, callback);
    state.bindState = BINDING;
    const address = typeof options.address === 'string' && options.address !== '' ? options.address : this.type === 'udp4' ? '0.0.0.0' : '::';
    state.handle.lookup(address, (/** @type {any} */ error, /** @type {string} */ ip) => {
      if (!state.handle) return;
      const port = Number(options.port ?? 0);
      const flags = (state.ipv6Only ? IPV6_ONLY : 0) | (state.reuseAddr ? constants.UV_UDP_REUSEADDR : 0);
      const failed = error ? 0 : /** @type {any} */ (handleFor(this)).bind(ip, port, flags);
      if (!error && failed === 0) return;
      state.bindState = UNBOUND;
      this.emit('error', error ?? errorOf(failed, 'bind', { address: ip, port }));
    });
    after();
    return this;
  };
  for (const [name, own] of ownMemberships) {
    prototype[name] = {
      /** @this {any} @param {any[]} names */
      [name](...names) {
        const handle = stateOf(this)?.sharedHandle;
        if (!(handle instanceof Handle)) return Reflect.apply(own, this, names);
        const failed = /** @type {any} */ (handle)[name](...names);
        if (failed !== 0) throw errorOf(failed, name);
      },
    }[name];
  }
}

/** @param {Handle} handle @param {number} fd @param {() => number} stop makes Bun read no more from it */
function adoptDatagrams(handle, fd, stop) {
  return handle.adopt(fd, stop);
}

module.exports = { IPV6_ONLY, adoptDatagrams, hasReusePort, isBound, isKnown, onBind, unboundHandle };
