// @ts-check
'use strict';

// Servers that a program makes itself around its clustered application: `http.createServer(app)`, as Socket.IO, ws and
// express-ws are taught, and `https.createServer(options, app)` beside `app.listen()`. In the primary such a server
// is held (`held-server.js`) and its workers serve. It is recognised by its 'request' listener, when that is added: engine.io
// takes it away again before anybody listens. Nothing is replaced before a clustered application is made here.

const net = require('node:net');
const { Counter, addressOf } = require('../process/listen-address');
const runtime = require('../runtime');
const { hold } = require('./held-server');

/** Node's own, where nobody says otherwise. */
const BACKLOG = 511;

/** Whose cluster a request listener's is. @type {WeakMap<object, any>} */
const listeners = new WeakMap();
/** Whose cluster serves for a server. @type {WeakMap<object, any>} */
const servers = new WeakMap();

let isInstalled = false;

function install() {
  if (isInstalled) return;
  isInstalled = true;
  const prototype = /** @type {any} */ (net.Server.prototype);
  for (const name of ['on', 'addListener', 'prependListener']) {
    const add = prototype[name];
    /** @this {any} @param {any} event @param {any} listener */
    const value = function (event, listener) {
      if (event === 'request' && listeners.has(listener)) servers.set(this, listeners.get(listener));
      return add.call(this, event, listener);
    };
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: false });
  }
  const counter = new Counter();
  runtime.interceptListen({
    wants: (server) => servers.has(server),
    takesExclusive: true,
    take(server, target, use) {
      const { exclusive, isHandle, backlog, mode } = target;
      // The program's own, in each process that runs it.
      const address = exclusive || isHandle ? null : addressOf(counter, target);
      hold(server, servers.get(server), address, { backlog: backlog || BACKLOG, mode }, target, use);
    },
  });
}

/** From now on the cluster of this role serves in place of the server. @param {any} server @param {any} role */
function serveFor(server, role) {
  install();
  servers.set(server, role);
}

/**
 * Recognises an application of any framework in the servers that are made around it.
 *
 * @param {any} app
 * @param {any} role the primary's
 */
function recognise(app, role) {
  install();
  if (app instanceof net.Server) servers.set(app, role);
  else if (typeof app === 'function') listeners.set(app, role);
  else if (app?.server instanceof net.Server) servers.set(app.server, role);
  else if (typeof app?.getHttpServer === 'function') servers.set(app.getHttpServer(), role);
  else if (typeof app?.callback === 'function') recogniseCallbacks(app, role);
  if (typeof app === 'function' && typeof app.handle === 'function') watchFor(app, role);
}

/** Koa makes a request listener each time that it is asked for one. @param {any} app @param {any} role */
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
 * A server whose listener calls the application looks like one that has nothing to do with it. It shows when a
 * client's request gets to the application in this process, which serves nobody else.
 *
 * @param {any} app
 * @param {any} role
 */
function watchFor(app, role) {
  const { handle } = app;
  let hasWarned = false;
  const value = function (/** @type {any} */ request, /** @type {any[]} */ ...rest) {
    if (!hasWarned && request?.socket?.server instanceof net.Server) {
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
