// @ts-check
'use strict';

// The handle of a server: libuv's listener as JavaScript sees it, a TCP or a Pipe.
//
// Relies on: `server._handle` (null: it does not listen), `net._createServerHandle(null, null, null, fd)`, which Node's
// own cluster uses, and of a handle `fd`, `getAsyncId`, `listen`, `close`, `ref`, `unref`, `hasRef`, `fchmod`,
// `getsockname`, `onconnection(status, connection)`; of its constructor that `new Handle(0)` makes a connection's handle,
// which `open(fd)` gives a descriptor.
// Seen on: Node.js 20, 22, 24, 26.

const net = require('node:net');

/** Constant of Node's TCP and Pipe: a connection, not a server. */
const SOCKET = 0;

/** @param {any} server */
function handleOf(server) {
  return server._handle;
}

/** @param {any} server @param {any} handle */
function setHandle(server, handle) {
  server._handle = handle;
}

/** Whether this is one of Node's own handles, or an object that has one. @param {any} value */
function isHandle(value) {
  const handle = value._handle || value.handle || value;
  return typeof handle.getAsyncId === 'function' && 'fd' in handle;
}

/** Whether options of `listen` name a handle, or are one. @param {any} options */
function namesHandle(options) {
  return [options.handle, options._handle, options.getAsyncId].some((value) => (value ?? null) !== null);
}

/**
 * Creates a handle on a listener's descriptor, of any type. libuv does not poll it before the handle's own `listen` is
 * called.
 *
 * @param {number} fd
 * @returns {any} libuv's negative errno on failure
 */
function openHandle(fd) {
  return /** @type {any} */ (net)._createServerHandle(null, null, null, fd);
}

/**
 * Replaces the methods of a handle on a listener from which drover accepts.
 *
 * @param {any} handle
 * @param {{ ref(): void, unref(): void, hasRef(): boolean, close(): unknown, [ofVirtualListeners: string]: unknown }} methods `close` is called before Node closes it
 */
function hookHandle(handle, { ref, unref, hasRef, close }) {
  const prototype = Object.getPrototypeOf(handle);
  handle.listen = () => 0;
  // The primary has set the permissions: this process may not be allowed to.
  handle.fchmod = () => 0;
  handle.ref = ref;
  handle.unref = unref;
  handle.hasRef = hasRef;
  handle.close = (/** @type {() => void} */ callback) => {
    close();
    return prototype.close.call(handle, callback);
  };
}

/**
 * Creates a connection's handle on a descriptor.
 *
 * @param {any} handle of a listener of the same type
 * @param {number} fd
 * @returns {any} null if it cannot be opened; then the caller keeps the descriptor
 */
function openConnection(handle, fd) {
  const connection = new handle.constructor(SOCKET);
  return connection.open(fd) === 0 ? connection : null;
}

/**
 * Passes a connection to the listener's server, as libuv does. False if the server has closed meanwhile: the connection
 * is closed.
 *
 * @param {any} handle
 * @param {any} connection
 */
function acceptConnection(handle, connection) {
  if (handle.onconnection === null) {
    connection.close();
    return false;
  }
  handle.onconnection(0, connection);
  return true;
}

/**
 * Stops a server with its own socket from accepting. For its program it still listens: libuv's handle cannot stop
 * accepting, so it is closed and replaced by a stub.
 *
 * @param {any} server
 */
function stopAccepting(server) {
  const handle = server._handle;
  if (!handle) return;
  const address = {};
  const isKnown = handle.getsockname?.(address) === 0;
  handle.close();
  server._handle = {
    getsockname: isKnown ? (/** @type {any} */ out) => (Object.assign(out, address), 0) : undefined,
    close: (/** @type {(() => void) | undefined} */ callback) => void (callback && process.nextTick(callback)),
    ref() {},
    unref() {},
  };
}

module.exports = { acceptConnection, handleOf, hookHandle, isHandle, namesHandle, openConnection, openHandle, setHandle, stopAccepting };
