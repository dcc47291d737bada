// @ts-check
'use strict';

// The servers of a runtime that accepts connections by itself (Bun), at the virtual listeners that the core gives it. Their connections
// belong to the core (src/worker/runtime_connections.rs), which moves them to other workers as they become idle.

const { FIRST_REQUEST_TIMEOUT, HANDOFF_TIMEOUT, LAST_LINGER_TIMEOUT, LINGER_TIMEOUT } = require('../http/graceful-close');
const { arrivals, isRoutedPerRequest, isUntouched, learn, routePerRequest } = require('../http/handoff');
const { addon } = require('../native');
const runtime = require('../runtime');
const symbols = require('../symbols');

const { connectionId } = symbols.socket;

/** All connections of a group. */
const ALL = -1;
/** The program's own, which did not come from drover. */
const NO_CONNECTION = -1;
/** How often remaining connections are counted, milliseconds. */
const LOOK_INTERVAL = 10;
/** How long connections that have to move for balance may take to become idle, milliseconds. */
const REBALANCE_TIMEOUT = 1000;
/** How long a connection may stay idle if its server has no limit, milliseconds. */
const UNLIMITED = 0x7fffffff;

/** How long a connection of the server may be idle, milliseconds. @param {any} server @returns {number} */
function idleTimeoutOf(server) {
  return runtime.idleTimeoutOf(server) || UNLIMITED;
}

/** What is known of a server that listens or has listened. */
class AtVirtualListener {
  /** @param {number} group */
  constructor(group) {
    this.group = group;
    /** When it has stopped to accept, milliseconds of `performance.now()`. */
    this.stopped = Infinity;
    /** When its last handler that returns a Response has returned. */
    this.answered = -Infinity;
    /** Connections move as they become idle. */
    this.isMoving = false;
  }
}

class VirtualListeners {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** @type {WeakMap<object, AtVirtualListener>} */
    this.servers = new WeakMap();
    /** Connections of a server have ever had to move: until then responses skip the check. */
    this.hasMoved = false;
  }

  /** @param {import('./listener-share').ListenerShare} share */
  opened({ server, group }) {
    server[symbols.server.isFollowed] = runtime.isHttp1(server) && !runtime.isEncrypted(server);
    this.servers.set(server, new AtVirtualListener(group));
    // Those of an earlier server at this address may stay again.
    addon.workerMoveConnections(group, 0, 0);
    addon.workerIdleTimeout(group, idleTimeoutOf(server));
  }

  /** The runtime reports a connection of node:http. @param {any} server @param {any} socket */
  came(server, socket) {
    learn(server, socket);
    const own = this.servers.get(server);
    if (own === undefined) return;
    const id = addon.workerConnection(own.group);
    if (id === NO_CONNECTION) return;
    socket[connectionId] = id;
    socket[symbols.socket.isFollowed] = server[symbols.server.isFollowed];
    if (server.maxRequestsPerSocket > 0) runtime.setRequestCount(socket, addon.workerRequestsOf(id));
    if (!addon.workerIsPerRequest(id)) return;
    routePerRequest(socket);
    // The program may have changed it.
    addon.workerIdleTimeout(own.group, idleTimeoutOf(server));
  }

  /** Whether the core may move a connection: what the program has touched stays. @param {any} server @param {any} socket @returns {boolean} */
  #isMovable(server, socket) {
    const id = socket[connectionId];
    if (id === undefined) return false;
    const isMovable = isUntouched(server, socket);
    addon.workerKeepConnection(id, !isMovable);
    return isMovable;
  }

  /** A response of this connection is finished: the core moves it before the next iteration of the loop, if it has to. @param {any} socket */
  responded(socket) {
    if (!this.hasMoved && !arrivals.perRequest) return;
    const { server } = socket;
    if (this.servers.get(server)?.isMoving !== true && !isRoutedPerRequest(socket)) return;
    // What the program has added for the response it removes at its end.
    process.nextTick(() => this.#isMovable(server, socket));
  }

  /** The server takes no new connections, and its own move to other workers. @param {import('./listener-share').ListenerShare} share */
  stopped({ server }) {
    const own = this.servers.get(server);
    if (own === undefined) return;
    own.stopped = performance.now();
    if (this.worker.connections.canHandOff()) this.#move(server, own);
  }

  /** @param {any} server @param {AtVirtualListener} own @param {number} [most] */
  #move(server, own, most = ALL) {
    own.isMoving = true;
    this.hasMoved = true;
    for (const { socket } of runtime.connectionsOf(server)?.all() ?? []) this.#isMovable(server, socket);
    addon.workerMoveConnections(own.group, most, idleTimeoutOf(server));
  }

  /** Whether a connection of a server that has stopped moves to another worker. @param {any} server @param {any} socket */
  moves(server, socket) {
    return this.servers.has(server) && !runtime.isEncrypted(server) && this.#isMovable(server, socket);
  }

  /**
   * The program closes the share's server: its connections move to other workers first, or get a last response. Resolves
   * when the runtime may close the others; null: at once.
   *
   * @param {import('./listener-share').ListenerShare} share closed
   * @returns {Promise<void> | null}
   */
  leave(share) {
    const { server } = share;
    const own = this.servers.get(server);
    if (own === undefined) return null;
    if (own.stopped === Infinity) {
      if (share.isServedByOthers) this.stopped(share);
      else own.stopped = performance.now();
    }
    const isLeaving = () => (share.isServedByOthers ? this.#isLeaving(server, own) : this.#awaitsFirstRequests(server, own) || this.#hasWaiting(own));
    if (!isLeaving()) return null;
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        if (isLeaving()) return;
        clearInterval(timer);
        resolve();
      }, LOOK_INTERVAL);
    });
  }

  /**
   * Whether idle connections of a server that has stopped still move to other workers, or may send a last request.
   *
   * @param {any} server
   * @param {AtVirtualListener} own
   */
  #isLeaving(server, own) {
    if (this.#hasWaiting(own)) return true;
    const list = runtime.connectionsOf(server);
    if (list === undefined && !runtime.isHttp1(server)) return false;
    const { open, movable } = addon.workerConnectionCounts(own.group);
    const now = performance.now();
    if (open === 0 || now > own.stopped + HANDOFF_TIMEOUT) return false;
    if (movable > 0 && this.worker.connections.canHandOff()) return true;
    if (list !== undefined) return list.idle().length > 0 || this.#awaitsFirstRequests(server, own);
    // With a response that the core cannot follow a connection ends, or it is another protocol.
    if (!runtime.isEncrypted(server) && movable === 0) return false;
    return now < (this.worker.drain.handoff ? own.stopped + LINGER_TIMEOUT : Math.max(own.answered, own.stopped) + LAST_LINGER_TIMEOUT);
  }

  /** Whether connections for a server that has stopped wait that the runtime has not taken. @param {AtVirtualListener} own */
  #hasWaiting(own) {
    return performance.now() < own.stopped + HANDOFF_TIMEOUT && addon.workerConnectionCounts(own.group).waiting;
  }

  /**
   * Whether connections of a server that has stopped have sent nothing so far: a request may be in transit. The runtime would
   * reset them.
   *
   * @param {any} server
   * @param {AtVirtualListener} own
   */
  #awaitsFirstRequests(server, own) {
    if (runtime.connectionsOf(server) === undefined || performance.now() > own.stopped + FIRST_REQUEST_TIMEOUT) return false;
    return addon.workerConnectionCounts(own.group).open > runtime.connectionCount(server);
  }

  /**
   * A handler of the server has returned a Response.
   *
   * @param {any} server
   * @param {number} at milliseconds
   * @returns {boolean} whether the connection ends with it
   */
  answered(server, at) {
    const own = this.servers.get(server);
    if (own === undefined) return false;
    own.answered = at;
    if (own.stopped === Infinity) return false;
    return runtime.isEncrypted(server) || !this.worker.connections.canHandOff();
  }

  /** When a connection of the server last ended, or a handler returned a Response. @param {any} server @param {number} now @returns {number} */
  lastWork(server, now) {
    const own = this.servers.get(server);
    if (own === undefined) return -Infinity;
    const { endedMsAgo } = addon.workerConnectionCounts(own.group);
    return Math.max(own.answered, typeof endedMsAgo === 'number' ? now - endedMsAgo : -Infinity);
  }

  /** Idle connections move to lighter workers, and busy ones when their response is done. @param {number} count */
  rebalance(count) {
    if (!this.worker.connections.canHandOff()) return;
    for (const { server, group } of this.worker.connections.shares.values()) {
      const own = this.servers.get(server);
      const { open } = addon.workerConnectionCounts(group);
      const most = Math.min(count, open);
      if (most === 0 || own === undefined) continue;
      count -= most;
      this.#move(server, own, most);
      setTimeout(() => {
        if (own.stopped !== Infinity) return;
        own.isMoving = false;
        addon.workerMoveConnections(group, 0, 0);
      }, REBALANCE_TIMEOUT).unref();
    }
  }

  /** A health check's connection comes to the server like any other; the core does not count it. @param {any} server @param {number} fd */
  probe(server, fd) {
    const own = this.servers.get(server);
    if (own === undefined) return addon.closeDescriptor(fd);
    addon.workerProbe(own.group, fd);
  }

  /** Whether every request of the server is answered; event streams and upgraded connections do not count. @param {any} server */
  isAnswered(server) {
    const own = this.servers.get(server);
    if (own === undefined) return true;
    if (own.stopped !== Infinity && this.#isLeaving(server, own)) return false;
    if (runtime.connectionsOf(server) === undefined && runtime.isEncrypted(server)) return !runtime.hasRequests(server);
    return addon.workerConnectionCounts(own.group).busy === 0;
  }
}

exports.VirtualListeners = VirtualListeners;
