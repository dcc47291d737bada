// @ts-check
'use strict';

// A datagram socket that a worker binds to a port is the primary's, shared by all workers: the kernel gives each
// datagram to one of them. Everything else is Node's own `bind`: drover comes in only where Node binds the socket's
// handle, after it has looked the name up. A port that the kernel chooses is the worker's own, unless the program says
// `exclusive: false`: what is sent from it is answered to the worker that sent it.

const { constants } = require('node:os');
const { addon } = require('../native');
const runtime = require('../runtime');

/** What libuv answers who joins a multicast group twice, and who leaves one that it has not joined. */
const IN_GROUP = -constants.errno.EADDRINUSE;
const NOT_IN_GROUP = -constants.errno.EADDRNOTAVAIL;

/**
 * What a program asked of `bind`. `send` and `connect` of a socket that is not bound bind it by themselves, with null
 * where a program has an address or a callback.
 *
 * @param {any[]} args
 */
function wishesOf([first, second]) {
  const options = first !== null && typeof first === 'object' ? first : {};
  return { exclusive: options.exclusive, isImplicit: options === first && second === null };
}

/** @typedef {ReturnType<typeof wishesOf>} Wishes */

/** The shared sockets of a worker. */
class DatagramSockets {
  /** @param {import('./worker').Worker} worker @param {(act: () => void) => void} whenLoaded */
  constructor(worker, whenLoaded) {
    this.worker = worker;
    this.whenLoaded = whenLoaded;
    /** Handles of open shared sockets. @type {Set<any>} */
    this.open = new Set();
    this.isStopped = false;
    /** For which kinds of ports, shared or not, the worker has become ready. @type {Set<boolean>} */
    this.readyFor = new Set();
    /** By handle: what its next `bind` was asked. @type {WeakMap<object, Wishes>} */
    this.wishes = new WeakMap();
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
    if (!runtime.isKnown(socket)) {
      this.worker.hint('Datagram sockets are not shared by the workers: this runtime is unknown.');
      return () => {};
    }
    const handle = runtime.unboundHandle(socket);
    // Node refuses it.
    if (handle === undefined) return () => {};
    const wishes = wishesOf(args);
    if (!this.wishes.has(handle)) this.intercept(handle, socket);
    this.wishes.set(handle, wishes);
    // Over a descriptor or a handle Node binds without the handle's `bind`.
    return () => {
      if (runtime.isBound(socket)) this.becomeReady(wishes, false);
    };
  }

  /** @param {any} handle @param {any} socket the program's */
  intercept(handle, socket) {
    const { bind } = handle;
    const ipv6 = socket.type === 'udp6';
    handle.bind = (/** @type {any} */ address, /** @type {any} */ port, /** @type {number} */ flags) => {
      const wishes = /** @type {Wishes} */ (this.wishes.get(handle));
      // As Node's own handle reads it.
      const number = (port >>> 0) & 0xffff;
      const isOwn = wishes.exclusive || runtime.hasReusePort(socket) || (number === 0 && wishes.exclusive !== false);
      const failed = isOwn
        ? bind.call(handle, address, port, flags)
        : this.bind(handle, bind, { address: `${address}`, port: number, flags, ipv6 });
      if (failed === 0) this.becomeReady(wishes, !isOwn);
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
    const ipv6Only = flags & runtime.IPV6_ONLY;
    const reuse = (flags & constants.UV_UDP_REUSEADDR) !== 0;
    const answer = addon.workerBind({ host: address, port, ipv6, ipv6_only: ipv6Only !== 0, reuse });
    this.worker.readInboxLater();
    if (answer.errno !== undefined) return -answer.errno;
    // A socket of its own, bound as ever, shows libuv what kind it is; then the primary's replaces it. (A handle
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
   * Installs the methods that mean something else on a shared socket.
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
      this.worker.readInboxLater();
    };
    joinTogether(handle, socket, 'addMembership', 'dropMembership');
    joinTogether(handle, socket, 'addSourceSpecificMembership', 'dropSourceSpecificMembership');
  }

  /**
   * A program of datagrams alone listens too, also on ports of its own. Those may be a client's beside a server, which
   * has begun to listen once the script has run.
   *
   * @param {Wishes} wishes
   * @param {boolean} isShared
   */
  becomeReady({ isImplicit }, isShared) {
    if (isImplicit || this.worker.hello.ready !== 'listen' || this.readyFor.has(isShared)) return;
    this.readyFor.add(isShared);
    if (isShared) this.worker.ready();
    // A server whose address is no name listens a turn later.
    else this.whenLoaded(() => setImmediate(() => this.worker.ready()));
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
function shareDatagrams(worker, whenLoaded) {
  const sockets = new DatagramSockets(worker, whenLoaded);
  runtime.onBind((socket, args) => sockets.prepare(socket, args));
  return sockets;
}

exports.DatagramSockets = DatagramSockets;
exports.shareDatagrams = shareDatagrams;
