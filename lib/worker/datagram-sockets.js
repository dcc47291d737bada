// @ts-check
'use strict';

// A datagram socket that a worker binds to a port is the primary's, shared by all workers: the kernel gives each
// datagram to one of them. Everything else is Node's own `bind`: drover comes in only where Node binds the socket's
// handle, after it has looked the name up. A port that the kernel chooses is the worker's own, unless the program says
// `exclusive: false`: what is sent from it is answered to the worker that sent it.

const dgram = require('node:dgram');
const { constants } = require('node:os');
const { addon } = require('../native');

/** libuv's flag for `ipv6Only`; that for `reuseAddr` is public. */
const IPV6_ONLY = 1;

/** Node's word for a socket that is not bound and not about to be. */
const UNBOUND = 0;
const BOUND = 2;

/** What libuv answers who joins a multicast group twice, and who leaves one that it has not joined. */
const IN_GROUP = -constants.errno.EADDRINUSE;
const NOT_IN_GROUP = -constants.errno.EADDRNOTAVAIL;

/** The description of the symbol under which Node keeps what it knows of a socket. */
const STATE = 'state symbol';

/** @type {symbol | undefined} */
let stateSymbol;

/**
 * What Node knows of a socket: handle, bindState, reusePort. Undefined where this runtime keeps it elsewhere.
 *
 * @param {any} socket
 * @returns {any}
 */
function stateOf(socket) {
  stateSymbol ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === STATE);
  return stateSymbol === undefined ? undefined : socket[stateSymbol];
}

/**
 * What a program asked of `bind`. `send` and `connect` of a socket that is not bound bind it by themselves, with null
 * where a program has an address or a callback.
 *
 * @param {any[]} args
 */
function askedOf([first, second]) {
  const options = first !== null && typeof first === 'object' ? first : {};
  return { exclusive: options.exclusive, isImplicit: options === first && second === null };
}

/** @typedef {ReturnType<typeof askedOf>} Asked */

/** The shared sockets of a worker. */
class Datagrams {
  /** @param {import('./worker').Worker} worker @param {(act: () => void) => void} whenLoaded */
  constructor(worker, whenLoaded) {
    this.worker = worker;
    this.whenLoaded = whenLoaded;
    /** Handles of open shared sockets. @type {Set<any>} */
    this.open = new Set();
    this.isStopped = false;
    /** Of which kinds of ports, shared or not, readiness was told. @type {Set<boolean>} */
    this.told = new Set();
    /** By handle: what its next `bind` was asked. @type {WeakMap<object, Asked>} */
    this.asked = new WeakMap();
  }

  /**
   * From now on this worker reads no shared socket: what is queued there, and what comes, is for the others. It can
   * still send. A socket that neither reads nor sends does not keep the event loop alive.
   */
  stopReading() {
    this.isStopped = true;
    for (const handle of this.open) handle.recvStop();
  }

  /**
   * Before Node's `bind`. Returns what is to be done after it.
   *
   * @param {any} socket
   * @param {any[]} args
   */
  prepare(socket, args) {
    const state = stateOf(socket);
    if (state === undefined) {
      this.worker.hint('Datagram sockets are not shared by the workers: this runtime is unknown.');
      return () => {};
    }
    const { handle } = state;
    // Node refuses it.
    if (!handle || state.bindState !== UNBOUND) return () => {};
    const asked = askedOf(args);
    if (!this.asked.has(handle)) this.intercept(handle, state, socket.type === 'udp6');
    this.asked.set(handle, asked);
    // Over a descriptor or a handle Node binds without the handle's `bind`.
    return () => state.bindState === BOUND && this.tellReady(asked, false);
  }

  /**
   * @param {any} handle
   * @param {any} state
   * @param {boolean} ipv6
   */
  intercept(handle, state, ipv6) {
    const { bind } = handle;
    handle.bind = (/** @type {any} */ address, /** @type {any} */ port, /** @type {number} */ flags) => {
      const asked = /** @type {Asked} */ (this.asked.get(handle));
      // As Node's own handle reads it.
      const number = (port >>> 0) & 0xffff;
      const isOwn = asked.exclusive || state.reusePort || (number === 0 && asked.exclusive !== false);
      const failed = isOwn
        ? bind.call(handle, address, port, flags)
        : this.bind(handle, bind, { address: `${address}`, port: number, flags, ipv6 });
      if (failed === 0) this.tellReady(asked, !isOwn);
      return failed;
    };
  }

  /**
   * Binds a handle to a socket of the primary's. Returns 0 or libuv's negative number.
   *
   * @param {any} handle
   * @param {(address: string, port: number, flags: number) => number} bind the handle's own
   * @param {{ address: string, port: number, flags: number, ipv6: boolean }} to
   */
  bind(handle, bind, { address, port, flags, ipv6 }) {
    const ipv6Only = flags & IPV6_ONLY;
    const reuse = (flags & constants.UV_UDP_REUSEADDR) !== 0;
    const answer = addon.workerBind({ host: address, port, ipv6, ipv6_only: ipv6Only !== 0, reuse });
    this.worker.readMailLater();
    if (answer.errno !== undefined) return -answer.errno;
    // A socket of its own, bound as ever, tells libuv what kind it is; then the primary's takes its place. (A handle
    // that is opened over a descriptor sets options of IPv4 on IPv6, and lets other programs bind the port.)
    const failed = bind.call(handle, ipv6 ? '::' : '0.0.0.0', 0, ipv6Only);
    if (failed) addon.closeDescriptor(answer.fd);
    const replaced = failed || -addon.replaceDescriptor(handle.fd, answer.fd);
    if (replaced !== 0) {
      addon.workerUnbind(answer.socket);
      return replaced;
    }
    this.share(handle, answer.socket);
    return 0;
  }

  /**
   * Gives the handle the methods that mean something else here.
   *
   * @param {any} handle
   * @param {number} socket the primary's number
   */
  share(handle, socket) {
    const { close, recvStart } = handle;
    this.open.add(handle);
    handle.recvStart = () => (this.isStopped ? 0 : recvStart.call(handle));
    handle.close = (/** @type {any[]} */ ...args) => {
      Reflect.apply(close, handle, args);
      // The address is free when the program hears that the socket is closed.
      if (this.open.delete(handle)) addon.workerUnbind(socket);
      this.worker.readMailLater();
    };
    joinTogether(handle, socket, 'addMembership', 'dropMembership');
    joinTogether(handle, socket, 'addSourceSpecificMembership', 'dropSourceSpecificMembership');
  }

  /**
   * A program of datagrams alone listens too, also on ports of its own. Those may be a client's beside a server, which
   * has begun to listen once the script has run.
   *
   * @param {Asked} asked
   * @param {boolean} isShared
   */
  tellReady({ isImplicit }, isShared) {
    if (isImplicit || this.worker.welcome.ready !== 'listen' || this.told.has(isShared)) return;
    this.told.add(isShared);
    if (isShared) addon.workerReady();
    // A server whose address is no name listens a turn later.
    else this.whenLoaded(() => setImmediate(addon.workerReady));
  }
}

/**
 * A socket joins a multicast group once, whoever shares it: the first worker joins for all, and the last to leave it
 * leaves it.
 *
 * @param {any} handle
 * @param {number} socket
 * @param {string} add
 * @param {string} drop
 */
function joinTogether(handle, socket, add, drop) {
  const { [add]: addOwn, [drop]: dropOwn } = handle;
  /** @type {Set<string>} */
  const joined = new Set();
  const nameOf = (/** @type {any[]} */ names) => [add, ...names.map((name) => name ?? '')].join(' ');
  /** @param {string} name @param {() => any} tellKernel */
  const leave = (name, tellKernel) => {
    joined.delete(name);
    if (!addon.workerPart(socket, name)) return 0;
    const failed = tellKernel();
    addon.workerLeft(socket, name);
    return failed;
  };
  handle[add] = (/** @type {any[]} */ ...names) => {
    const name = nameOf(names);
    if (joined.has(name)) return IN_GROUP;
    const failed = addon.workerJoin(socket, name) ? Reflect.apply(addOwn, handle, names) : 0;
    joined.add(name);
    // A worker that died while it left the group has not.
    if (failed === 0 || failed === IN_GROUP) return 0;
    leave(name, () => {});
    return failed;
  };
  handle[drop] = (/** @type {any[]} */ ...names) => {
    const name = nameOf(names);
    return joined.has(name) ? leave(name, () => Reflect.apply(dropOwn, handle, names)) : NOT_IN_GROUP;
  };
}

/**
 * @param {import('./worker').Worker} worker
 * @param {(act: () => void) => void} whenLoaded
 */
function share(worker, whenLoaded) {
  const datagrams = new Datagrams(worker, whenLoaded);
  const prototype = /** @type {any} */ (dgram.Socket.prototype);
  // `bindSync` is of Node 26.
  for (const name of ['bind', 'bindSync'].filter((name) => name in prototype)) {
    const own = prototype[name];
    prototype[name] = {
      /** @this {any} @param {any[]} args */
      [name](...args) {
        const done = datagrams.prepare(this, args);
        const result = Reflect.apply(own, this, args);
        done();
        return result;
      },
    }[name];
  }
  return datagrams;
}

module.exports = { share };
