// @ts-check
'use strict';

// Servers that a program creates itself around its clustered application: `http.createServer(app)`, as the
// documentation of Socket.IO, ws and express-ws shows it, and `https.createServer(options, app)` in addition to
// `app.listen()`. In the primary such a server is held (`held-server.js`) and the workers serve. It is recognised when
// its 'request' listener is added, because engine.io removes the listener again before `listen`. Nothing is patched
// before a clustered application is created in this process.

const { Counter, addressOf } = require('../process/listen-address');
const runtime = require('../runtime');
const { hold } = require('./held-server');

/** Node's default backlog. */
const BACKLOG = 511;

/** The role (and cluster) of each application used as request listener. @type {WeakMap<object, any>} */
const listeners = new WeakMap();
/** The role (and cluster) that serves for each server. @type {WeakMap<object, any>} */
const servers = new WeakMap();

let isInstalled = false;

function install() {
  if (isInstalled) return;
  isInstalled = true;
  for (const { prototype } of runtime.serverClasses) {
    for (const name of ['on', 'addListener', 'prependListener']) {
      const add = prototype[name];
      /** @this {any} @param {any} event @param {any} listener */
      const value = function (event, listener) {
        if (event === 'request' && listeners.has(listener)) servers.set(this, listeners.get(listener));
        return add.call(this, event, listener);
      };
      Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: false });
    }
  }
  const counter = new Counter();
  runtime.interceptListen({
    wants: (server) => servers.has(server),
    takesExclusive: true,
    take(server, target, use) {
      const { exclusive, isHandle, backlog, mode } = target;
      // A socket of this process only; each process has its own.
      const address = exclusive || isHandle ? null : addressOf(counter, target);
      hold(server, servers.get(server), address, { backlog: backlog || BACKLOG, mode }, target, use);
    },
  });
}

/** Makes the cluster of this role serve for the server. @param {any} server @param {any} role */
function serveFor(server, role) {
  install();
  servers.set(server, role);
}

/**
 * Recognises servers that are created around an application of any framework.
 *
 * @param {any} app
 * @param {any} role the primary's
 */
function recognise(app, role) {
  install();
  if (runtime.isServer(app)) servers.set(app, role);
  else if (typeof app === 'function') listeners.set(app, role);
  else if (runtime.isServer(app?.server)) servers.set(app.server, role);
  else if (typeof app?.getHttpServer === 'function') servers.set(app.getHttpServer(), role);
  else if (typeof app?.callback === 'function') recogniseCallbacks(app, role);
  if (typeof app === 'function' && typeof app.handle === 'function') watchFor(app, role);
}

/** Koa creates a new request listener at each call of `callback()`. @param {any} app @param {any} role */
function recogniseCallbacks(app, role) {
  const { callback } = app;
  const value = function (/** @type {any[]} */ ...args) {
    const listener = callback.apply(app, args);
    listeners.set(listener, role);
    return listener;
  };
  Object.defineProperty(app, 'callback', { value, writable: true, configurable: true, enumerable: false });
}

/**
 * A server whose listener only calls the application cannot be recognised. It is detected when a client's request
 * reaches the application in the primary, which otherwise serves no request.
 *
 * @param {any} app
 * @param {any} role
 */
function watchFor(app, role) {
  const { handle } = app;
  let hasWarned = false;
  const value = function (/** @type {any} */ request, /** @type {any[]} */ ...rest) {
    if (!hasWarned && runtime.isServer(request?.socket?.server)) {
      hasWarned = true;
      role.warn(
        'The primary itself answers requests for the application, because a server of its own calls it: only one process serves there. Give the application itself to http.createServer(), or use app.listen(), and the workers serve.',
      );
    }
    return handle.call(app, request, ...rest);
  };
  Object.defineProperty(app, 'handle', { value, writable: true, configurable: true, enumerable: false });
}

module.exports = { recognise, serveFor };
