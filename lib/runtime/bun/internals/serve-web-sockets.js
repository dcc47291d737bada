// @ts-check
'use strict';

// The open WebSockets of `Bun.serve`.
//
// Relies on: the handlers `open` and `close` of the option `websocket`, which get the same object for a connection.
// Seen on: Bun 1.4.4, 1.4.5.

/** By server, as drover knows it. @type {WeakMap<object, Set<any>>} */
const sockets = new WeakMap();

/** The option `websocket` with hooked handlers. @param {any} handlers the program's @param {any} own the server as drover knows it */
function hookedWebSocket(handlers, own) {
  const open = sockets.get(own) ?? new Set();
  sockets.set(own, open);
  const { open: opened, close: closed } = handlers;
  const changed = {
    /** @this {any} @param {any} socket */
    open(socket) {
      open.add(socket);
      if (opened) return Reflect.apply(opened, this, arguments);
    },
    /** @this {any} @param {any} socket */
    close(socket) {
      open.delete(socket);
      if (closed) return Reflect.apply(closed, this, arguments);
    },
  };
  // A class instance keeps its getters and methods.
  return Object.assign(Object.create(handlers), handlers, changed);
}

/** The open WebSockets of a server that the runtime has upgraded itself; they have `close(code, reason)`. @param {any} server @returns {any[]} */
function ownWebSocketsOf(server) {
  return [...(sockets.get(server) ?? [])];
}

module.exports = { hookedWebSocket, ownWebSocketsOf };
