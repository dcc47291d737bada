// @ts-check
'use strict';

// A datagram socket that a worker binds to a fixed port is the primary's, shared by all workers: the kernel gives each
// datagram to one of them. Everything else is Node's own `bind`: drover intercepts only the bind of the socket's
// handle, after Node has looked up the name. A port that the kernel chooses belongs to the worker alone, unless the
// program sets `exclusive: false`, so that replies reach the worker that sent the request.

const { constants } = require('node:os');
const { addon } = require('../native');
const runtime = require('../runtime');

/** libuv's errors for joining a multicast group twice, and for leaving one that was not joined. */
const IN_GROUP = -constants.errno.EADDRINUSE;
const NOT_IN_GROUP = -constants.errno.EADDRNOTAVAIL;

/**
 * The options of a program's `bind`. `send` and `connect` bind an unbound socket implicitly, with null instead of an
 * address or callback.
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
    /** The types of ports, shared or not, that have been reported for readiness. @type {Set<boolean>} */
    this.readyFor = new Set();
    /** By handle: the options of its next `bind`. @type {WeakMap<object, Wishes>} */
    this.wishes = new WeakMap();
  }

  /**
   * Stops reading shared sockets: queued and new datagrams are for the other workers. This worker can still send. A
   * socket that neither reads nor sends does not keep the event loop alive.
   */
  stopReading() {
    this.isStopped = true;
    for (const handle of this.open) handle.recvStop();
  }

  /**
   * Called before Node's `bind`; returns the function to call after it.
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
    // Node throws.
    if (handle === undefined) return () => {};
    const wishes = wishesOf(args);
    if (!this.wishes.has(handle)) this.intercept(handle, socket);
    this.wishes.set(handle, wishes);
    // For a descriptor or a handle Node does not call the handle's `bind`.
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
   * Binds a handle to a socket of the primary. Returns 0 or libuv's negative errno.
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
    if (runtime.acceptsItself) {
      const { fd, socket } = answer;
      addon.followDatagrams(fd);
      const failed = runtime.adoptDatagrams(handle, fd, () => -addon.stopReadingDatagrams(fd)) || -addon.resetDatagrams(fd, reuse);
      if (failed !== 0) {
        addon.workerUnbind(socket);
        return failed;
      }
      this.share(handle, socket);
      if (this.isStopped) handle.recvStop();
      return 0;
    }
    // A normal bind first tells libuv the socket's address family; then the primary's socket replaces it. (A handle
    // that is opened on a descriptor sets IPv4 options on IPv6, and lets other programs bind the port.)
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
   * Replaces the methods that differ for a shared socket.
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
      // The address must be free when the program gets 'close'.
      if (this.open.delete(handle)) addon.workerUnbind(socket);
      this.worker.readInboxLater();
    };
    joinTogether(handle, socket, 'addMembership', 'dropMembership');
    joinTogether(handle, socket, 'addSourceSpecificMembership', 'dropSourceSpecificMembership');
  }

  /**
   * Makes the worker ready. A program with datagram sockets only is ready too, also with ports of its own. Those may
   * belong to a client in a program with a server, which starts to listen by the time the script has run.
   *
   * @param {Wishes} wishes
   * @param {boolean} isShared
   */
  becomeReady({ isImplicit }, isShared) {
    if (isImplicit || this.worker.hello.ready !== 'listen' || this.readyFor.has(isShared)) return;
    this.readyFor.add(isShared);
    if (isShared) this.worker.ready();
    // A server with a literal address listens one tick later.
    else this.whenLoaded(() => setImmediate(() => this.worker.ready()));
  }
}

/**
 * A shared socket joins a multicast group once: the first worker joins it in the kernel, and the last worker to leave
 * drops it.
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
    // A worker that died while leaving may not have left the group in the kernel.
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
