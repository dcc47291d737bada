// @ts-check
'use strict';

// Intercepts the points at which a server of Bun starts to listen, so that it gets a virtual listener of drover's in place of a socket
// (src/sys/socket_calls), or represents the servers of other processes.
//
// Relies on: `Bun.serve` and `Bun.listen`, which can be replaced, and which `listen` of node:http, node:https and node:net
// calls (with `fd` for a descriptor, `unix` for a path); the server that they return has `stop`, which is called when the
// server closes. The first `bind` of their call is that of the server's socket.
// Seen on: Bun 1.4.4, 1.4.5.

const dns = require('node:dns');
const http = require('node:http');
const net = require('node:net');
const { BunServer } = require('./bun-server');
const { isRepresenting, represent } = require('./representing');
const { rememberServer } = require('./server-sockets');
const { hookReload, hookedOptions } = require('./serve-handlers');

/** @typedef {import('../../node/internals/listen').Target} Target */

const { Bun } = /** @type {any} */ (globalThis);

/** Bun's own. */
const { listen: ownListen, serve: ownServe } = Bun;

/** The variables with the default port of `Bun.serve`, in Bun's order, and its last resort. */
const PORT_VARIABLES = ['BUN_PORT', 'PORT', 'NODE_PORT'];
const DEFAULT_PORT = 3000;

const MAX_PORT = 0xffff;

/** Permission bits of a unix socket's file. */
const READABLE_BY_ALL = 0o444;
const WRITABLE_BY_ALL = 0o222;

/**
 * A server's virtual listener, in place of Node's handle.
 *
 * @typedef {object} Methods
 * @property {() => void} bind the next socket that this thread binds is the virtual listener; throws if there can be none
 * @property {() => boolean} hasBound ends that; whether a socket was bound
 * @property {() => Promise<void> | null} close called before the runtime closes it, which has to wait for the promise
 */
class VirtualListener {
  /** @param {number} fd a listener with its address, which `bind` takes over */
  constructor(fd) {
    this.fd = fd;
    /** @type {Methods | null} */
    this.methods = null;
    /** What `Bun.serve` or `Bun.listen` has returned. @type {any} */
    this.made = null;
  }

  /** Stops the runtime's server. */
  close() {
    this.made?.stop(true);
  }
}

/** The virtual listeners of servers, and the servers that represent others, while they listen. @type {WeakMap<object, any>} */
const handles = new WeakMap();

/** What Bun has returned for each server at a virtual listener. @type {WeakMap<object, any>} */
const servers = new WeakMap();

/** Requests of the server that are not answered, as Bun counts them. @param {any} server @returns {boolean} */
function hasRequests(server) {
  return (servers.get(server)?.pendingRequests ?? 0) > 0;
}

/** @param {any} server */
function handleOf(server) {
  return handles.get(server) ?? (server.listening ? server : null);
}

/** @param {any} server @param {any} handle */
function setHandle(server, handle) {
  if (handle === null) handles.delete(server);
  else handles.set(server, handle);
}

/** @param {number} fd */
function openHandle(fd) {
  return new VirtualListener(fd);
}

/** @param {VirtualListener} virtualListener @param {Methods} methods */
function hookHandle(virtualListener, methods) {
  virtualListener.methods = methods;
}

/** A descriptor of this process, which Bun listens on itself. @param {number} fd */
function ownHandle(fd) {
  return { fd, isOwn: true };
}

/** The virtual listener (or held address) and the server of the `listen` that is running. @type {{ handle: any, server: any } | null} */
let current = null;

/**
 * Makes Bun's server listen at a virtual listener.
 *
 * @param {VirtualListener} virtualListener
 * @param {any} server
 * @param {() => any} listen calls Bun's own function
 */
function listenAt(virtualListener, server, listen) {
  const methods = /** @type {Methods} */ (virtualListener.methods);
  methods.bind();
  let made;
  try {
    made = listen();
  } catch (error) {
    methods.hasBound();
    methods.close();
    throw error;
  }
  if (!methods.hasBound()) {
    methods.close();
    made.stop(true);
    throw new Error('Bun has bound no socket of its own for this server');
  }
  virtualListener.made = made;
  handles.set(server, virtualListener);
  made.closeIdleConnections = () => 0;
  onStop(made, () => {
    if (handles.get(server) === virtualListener) handles.delete(server);
    return methods.close();
  });
  hookReload(made, server);
  servers.set(server, made);
  return made;
}

/**
 * Calls back before the server of Bun stops for the first time. It closes idle connections then, so unless it is told to
 * close all it waits for the promise.
 *
 * @param {any} made
 * @param {() => Promise<void> | null} stops
 */
function onStop(made, stops) {
  const { stop } = made;
  made.stop = function (/** @type {any[]} */ ...args) {
    made.stop = stop;
    const left = stops();
    if (left === null || args[0] === true) return Reflect.apply(stop, made, args);
    return left.then(() => Reflect.apply(stop, made, args));
  };
}

/** Calls Bun's own function with what the running `listen` has decided. @param {any} server @param {any} handle @param {(more: object) => any} listen */
function listenWith(server, handle, listen) {
  rememberServer(server);
  if (handle.isOwn) return listen({});
  return listenAt(handle, server, () => listen({ reusePort: false }));
}

/** Whether Bun's options name a socket of this process only. @param {any} options */
function isExclusive({ reusePort, exclusive, fd }) {
  return Boolean(reusePort) || Boolean(exclusive) || typeof fd === 'number';
}

/** The address of a server without a `listen` of Node's. @param {any} options @param {number | undefined} defaultPort @returns {Target} */
function targetOf({ unix, hostname, port, ipv6Only }, defaultPort) {
  const target = { host: hostname ?? null, port: Number(port ?? defaultPort ?? 0), fd: null, ipv6Only: Boolean(ipv6Only), backlog: 0, mode: 0, exclusive: false, isHandle: false };
  if (unix === undefined) return target;
  return { ...target, host: String(unix).replace(/^unix:\/\//, ''), port: -1 };
}

/** The default port of `Bun.serve`. */
function defaultPort() {
  const name = PORT_VARIABLES.find((name) => process.env[name] !== undefined);
  return name === undefined ? DEFAULT_PORT : Number(process.env[name]);
}

/** Whether a server can listen on it; undefined and null mean any port. @param {any} port */
function isPort(port) {
  if (port === undefined || port === null) return true;
  return (typeof port === 'number' || typeof port === 'string') && Number(port) === Number(port) >>> 0 && Number(port) <= MAX_PORT;
}

/** Node's error of a port that is none. @param {any} port */
function badPort(port) {
  const received = typeof port === 'string' ? `'${port}'` : `type ${typeof port} (${port})`;
  return Object.assign(new RangeError(`options.port should be >= 0 and < 65536. Received ${received}.`), { code: 'ERR_SOCKET_BAD_PORT' });
}

/** Node's error of a server that listens already. */
function alreadyListens() {
  return Object.assign(new Error('Listen method has been called more than once without closing.'), { code: 'ERR_SERVER_ALREADY_LISTEN' });
}

/** Parses the arguments of `listen`. @param {any[]} args @returns {Target} */
function targetOfListen(args) {
  const [first, second] = args;
  const base = { host: /** @type {string | null} */ (null), port: 0, fd: null, ipv6Only: false, backlog: 0, mode: 0, exclusive: false, isHandle: false };
  if (first !== null && typeof first === 'object') {
    const { port, host, path, fd, backlog, ipv6Only, exclusive, reusePort, readableAll, writableAll } = first;
    const mode = (readableAll === true ? READABLE_BY_ALL : 0) | (writableAll === true ? WRITABLE_BY_ALL : 0);
    const more = { ...base, backlog: backlog ?? 0, ipv6Only: Boolean(ipv6Only), mode, exclusive: Boolean(exclusive) || Boolean(reusePort) };
    if (typeof fd === 'number') return { ...more, fd };
    if (typeof path === 'string' && port === undefined) return { ...more, host: path, port: -1 };
    if (!isPort(port)) throw badPort(port);
    return { ...more, host: host ?? null, port: Number(port ?? 0) };
  }
  if (typeof first === 'string' && !/^\d+$/.test(first)) return { ...base, host: first, port: -1 };
  const backlog = args.slice(1).find((value) => typeof value === 'number') ?? 0;
  const port = typeof first === 'function' ? 0 : (first ?? 0);
  if (!isPort(port)) throw badPort(port);
  return { ...base, host: typeof second === 'string' ? second : null, port: Number(port), backlog };
}

/** Intercepts `listen` of the servers for which `wants` is true. @param {import('../../node/internals/listen').Interception} interception */
function interceptListen({ wants, takesExclusive = false, take, bound = () => {} }) {
  for (const prototype of [http.Server.prototype, net.Server.prototype]) interceptOf(/** @type {any} */ (prototype));
  Bun.serve = /** @type {any} */ (direct(ownServe, true));
  Bun.listen = /** @type {any} */ (direct(ownListen, false));

  /** @param {any} prototype */
  function interceptOf(prototype) {
    const { listen } = prototype;
    prototype.listen = function (/** @type {any[]} */ ...args) {
      if (isRepresenting(this)) throw alreadyListens();
      if (handles.has(this) || this.listening || current !== null || !wants(this)) return Reflect.apply(listen, this, args);
      const target = targetOfListen(args);
      const isOwn = target.exclusive && !takesExclusive;
      const start = (/** @type {any} */ handle) => {
        if (!(handle instanceof VirtualListener) && !handle.isOwn) {
          const listener = args.findLast((value) => typeof value === 'function');
          if (listener !== undefined) this.once('listening', listener);
          handles.set(this, handle);
          represent(this, handle, () => handles.delete(this));
          closeAtSignal(this, args);
          return;
        }
        current = { handle, server: this };
        try {
          Reflect.apply(listen, this, takesExclusive ? withoutExclusive(args) : args);
        } finally {
          current = null;
        }
      };
      if (isOwn) {
        start(ownHandle(-1));
        bound(this);
        return this;
      }
      const fail = (/** @type {Error} */ error) => process.nextTick(() => this.emit('error', error));
      resolved(target, (error, found) => (error ? fail(error) : take(this, found, start, fail)));
      return this;
    };
  }

  /** @param {any} own @param {boolean} isHttp */
  function direct(own, isHttp) {
    return function (/** @type {any} */ options) {
      /** @param {any} server @returns {(more: object) => any} */
      const callFor = (server) => (more) => own.call(Bun, Object.assign(Object.create(options), hookedOptions(options, server), more));
      if (current !== null) {
        const { server, handle } = current;
        current = null;
        return listenWith(server, handle, callFor(server));
      }
      const server = new BunServer(isHttp, options);
      const call = callFor(server);
      // What is no address Bun refuses itself.
      if (options === null || typeof options !== 'object' || !isPort(options.port) || !wants(server)) return own.call(Bun, options);
      if (isExclusive(options)) {
        server.opened(own.call(Bun, options));
        bound(server);
        return server.made;
      }
      const failed = (/** @type {Error} */ error) => {
        throw error;
      };
      take(server, targetOf(options, isHttp ? defaultPort() : undefined), (virtualListener) => {
        server.opened(listenWith(server, virtualListener, call));
      }, failed);
      return server.made;
    };
  }
}

/** Closes a server that represents others when the signal of its `listen` aborts, as Bun does with its own. @param {any} server @param {any[]} args */
function closeAtSignal(server, [options]) {
  const signal = options?.signal;
  if (!(signal instanceof AbortSignal)) return;
  const close = () => server.close();
  if (signal.aborted) {
    process.nextTick(close);
    return;
  }
  signal.addEventListener('abort', close, { once: true });
  server.once('close', () => signal.removeEventListener('abort', close));
}

/** The same arguments without `exclusive` and `reusePort`. @param {any[]} args */
function withoutExclusive([options, ...rest]) {
  if (options === null || typeof options !== 'object') return [options, ...rest];
  return [{ ...options, exclusive: false, reusePort: false }, ...rest];
}

/** Looks a name up, as Node's `listen` does. @param {Target} target @param {(error: Error | null, target: Target) => void} done */
function resolved(target, done) {
  const { host, port } = target;
  if (host === null || port === -1 || net.isIP(host) !== 0) done(null, target);
  else dns.lookup(host, (error, address) => done(error, { ...target, host: address }));
}

module.exports = { handleOf, hasRequests, hookHandle, interceptListen, openHandle, ownHandle, setHandle };
