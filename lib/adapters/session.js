// @ts-check
'use strict';

// drover/session: a store of express-session. A session is the JSON text that express-session makes of it.
//
// A request that has loaded a session and ends after others have changed or destroyed it must not undo that. So what is
// written for a loaded session replaces only a session that is there, by `compareAndSet`; and a session that the request
// has not changed (`touch`, `resave`) gets a new lifetime, never its old contents.

const { Store } = require('express-session');
const { cacheOf, plainText } = require('./source');

/** Of a session whose cookie ends with the browser. */
const DEFAULT_TTL = '1d';

/** @typedef {(error?: any, result?: any) => void} Callback */

/**
 * Calls back in a turn of its own, where an exception is the callback's; without a callback the promise tells.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {Callback | undefined} callback
 */
function answer(promise, callback) {
  if (typeof callback !== 'function') return promise;
  promise.then(
    (result) => process.nextTick(callback, null, result),
    (error) => process.nextTick(callback, error),
  );
  return undefined;
}

/** When the session of this text ends, in milliseconds since 1970; undefined: with the browser. @param {any} session */
function endOf({ cookie }) {
  const expires = cookie?.expires;
  return expires === undefined || expires === null ? undefined : new Date(expires).getTime();
}

/** The session without its cookie: what a request can have changed. @param {any} session */
function contentsOf(session) {
  return JSON.stringify({ ...session, cookie: undefined });
}

class DroverStore extends Store {
  #cache;
  #prefix;
  #ttl;
  /** The contents of sessions of requests, as they were loaded or saved. @type {WeakMap<object, { id: string, contents: string }>} */
  #known = new WeakMap();

  /**
   * @param {any} source an app, its cache, or a namespace of it
   * @param {{ ttl?: number | string, prefix?: string }} [options] `ttl`: of sessions whose cookie ends with the browser
   */
  constructor(source, { ttl = DEFAULT_TTL, prefix = '' } = {}) {
    super();
    this.#cache = cacheOf(source, 'sessions');
    this.#prefix = plainText('prefix', prefix);
    this.#ttl = ttl;
  }

  /** @override @param {string} id @param {Callback} callback */
  get(id, callback) {
    return answer(this.#get(id), callback);
  }

  /**
   * @override
   * @param {any} request
   * @param {any} session
   */
  createSession(request, session) {
    const made = super.createSession(request, session);
    this.#known.set(made, { id: request.sessionID, contents: contentsOf(made) });
    return made;
  }

  /** @override @param {string} id @param {any} session @param {Callback} [callback] */
  set(id, session, callback) {
    return answer(this.#set(id, session), callback);
  }

  /** @override @param {string} id @param {any} session @param {Callback} [callback] */
  touch(id, session, callback) {
    return answer(this.#touch(id, session.cookie), callback);
  }

  /** @override @param {string} id @param {Callback} [callback] */
  destroy(id, callback) {
    return answer(
      this.#cache.delete(this.#prefix + id).then(() => undefined),
      callback,
    );
  }

  /** The sessions by id. @override @param {Callback} callback */
  all(callback) {
    return answer(this.#all(), callback);
  }

  /** @override @param {Callback} callback */
  length(callback) {
    return answer(
      this.#all().then((sessions) => Object.keys(sessions).length),
      callback,
    );
  }

  /** @override @param {Callback} [callback] */
  clear(callback) {
    return answer(
      this.#cache.invalidate(`${this.#prefix}*`).then(() => undefined),
      callback,
    );
  }

  /** @param {string} id */
  async #get(id) {
    const text = this.#cache.get(this.#prefix + id);
    if (text === undefined) return undefined;
    const session = JSON.parse(text);
    const end = endOf(session);
    return end === undefined || end > Date.now() ? session : undefined;
  }

  /** @param {string} id @param {any} session */
  async #set(id, session) {
    // Sessions change while they are being stored.
    const text = JSON.stringify(session);
    const parsed = JSON.parse(text);
    const contents = contentsOf(parsed);
    const known = this.#known.get(session);
    if (known?.id !== id) await this.#store(id, text, parsed);
    else if (known.contents === contents) await this.#touch(id, parsed.cookie);
    else await this.#replace(id, () => text);
    this.#known.set(session, { id, contents });
  }

  /** @param {string} id @param {any} cookie */
  async #touch(id, cookie) {
    await this.#replace(id, (text) => JSON.stringify({ ...JSON.parse(text), cookie }));
  }

  /** @param {string} id @param {string} text @param {any} session */
  async #store(id, text, session) {
    const ttl = this.#lifetime(session);
    if (ttl === undefined) await this.#cache.delete(this.#prefix + id);
    else await this.#cache.set(this.#prefix + id, text, { ttl });
  }

  /**
   * Replaces a session that is there, by what is made of its text.
   *
   * @param {string} id
   * @param {(text: string) => string} change
   */
  async #replace(id, change) {
    const key = this.#prefix + id;
    for (;;) {
      const text = this.#cache.get(key);
      if (text === undefined) return;
      const changed = change(text);
      const ttl = this.#lifetime(JSON.parse(changed));
      if (ttl === undefined) {
        await this.#cache.delete(key);
        return;
      }
      // Otherwise another process was faster, which succeeded.
      if (await this.#cache.compareAndSet(key, text, changed, { ttl })) return;
    }
  }

  /** Of the session; undefined: it has ended. @param {any} session */
  #lifetime(session) {
    const end = endOf(session);
    if (end === undefined) return this.#ttl;
    const left = end - Date.now();
    return left > 0 ? left : undefined;
  }

  async #all() {
    /** @type {Record<string, any>} */
    const sessions = Object.create(null);
    for await (const key of this.#cache.keys()) {
      if (!key.startsWith(this.#prefix)) continue;
      const id = key.slice(this.#prefix.length);
      const session = await this.#get(id);
      if (session !== undefined) sessions[id] = session;
    }
    return sessions;
  }
}

exports.DroverStore = DroverStore;
