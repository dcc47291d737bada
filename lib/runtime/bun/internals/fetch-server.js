// @ts-check
'use strict';

// A server for an application with `fetch`, with the methods and events of Node's servers: it listens by `Bun.serve`, or by
// the application's own `listen`, which does (Elysia).
//
// Relies on: `Bun.serve(options)`, and of the server that it returns: `address`, `stop(closeActiveConnections)`, `ref`, `unref`;
// an application with a `listen` of its own has that server as `server`.
// Seen on: Bun 1.4.4, 1.4.5.

const { EventEmitter } = require('node:events');
const { hookedOptions } = require('./serve-handlers');

const { Bun } = /** @type {any} */ (globalThis);

/** Bun's own. */
const { serve: ownServe } = Bun;

/** Options of `Bun.serve` that an application may have, as what `export default` names. */
const TAKEN = ['error', 'idleTimeout', 'maxRequestBodySize', 'routes', 'websocket'];

/** Options of Node's servers of TLS that are Bun's too. */
const TLS = ['ca', 'cert', 'ciphers', 'key', 'passphrase', 'rejectUnauthorized', 'requestCert'];

/** @param {any} given @param {string[]} names */
function picked(given, names) {
  return Object.fromEntries(names.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]));
}

class FetchServer extends EventEmitter {
  /** The path of its socket. @type {string | null} */
  #path = null;

  /** @param {any} app @param {any} options as for http.createServer, or https.createServer with key and cert */
  constructor(app, options) {
    super();
    this.app = app;
    this.options = options;
    /** Bun's server while it listens. @type {any} */
    this.made = null;
  }

  /** @param {any} options port and host, or a path */
  listen({ port, host, path }) {
    this.#path = path ?? null;
    try {
      this.made = this.#start(path === undefined ? { port: Number(port), ...(host !== undefined && { hostname: host }) } : { unix: path });
    } catch (error) {
      process.nextTick(() => this.emit('error', error));
      return this;
    }
    process.nextTick(() => this.emit('listening'));
    return this;
  }

  /** @param {any} place */
  #start(place) {
    const { app } = this;
    if (typeof app.listen === 'function') {
      app.listen(place);
      return app.server;
    }
    const tls = picked(this.options, TLS);
    // Applications of frameworks have `routes` of another form.
    const own = picked(app, Array.isArray(app.routes) ? TAKEN.filter((name) => name !== 'routes') : TAKEN);
    const options = { ...own, fetch: app.fetch.bind(app), ...(Object.keys(tls).length > 0 && { tls }), ...place };
    // What drover has put in its place hooks the handlers itself.
    return Bun.serve === ownServe ? ownServe.call(Bun, hookedOptions(options, this)) : Bun.serve(options);
  }

  get listening() {
    return this.made !== null;
  }

  address() {
    return this.made === null ? null : (this.#path ?? this.made.address);
  }

  /** @param {(error?: Error) => void} [callback] */
  close(callback) {
    if (callback !== undefined) this.once('close', callback);
    this.#stop(false);
    return this;
  }

  closeAllConnections() {
    this.#stop(true);
  }

  /** @param {boolean} isForced */
  #stop(isForced) {
    const { made } = this;
    this.made = null;
    if (made !== null) Promise.resolve(made.stop(isForced)).then(() => this.emit('close'));
  }

  ref() {
    this.made?.ref();
    return this;
  }

  unref() {
    this.made?.unref();
    return this;
  }
}

/** A server of the runtime's own for an application with `fetch`; null: there is none. @param {any} app @param {any} options */
function fetchServer(app, options) {
  return new FetchServer(app, options);
}

module.exports = { fetchServer };
