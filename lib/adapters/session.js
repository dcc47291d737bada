// @ts-check
'use strict';

// drover/session: a store of express-session. A session is the JSON text that express-session makes of it.
//
// A request that has loaded a session and ends after others have changed or destroyed it must not undo that. So what is
// written for a loaded session replaces only a session that is there; and a session that the request
// has not changed (`touch`, `resave`) gets a new lifetime, never its old contents.

const { Store } = require('express-session');
const { KeptRecords } = require('./kept-records');
const { outageOf } = require('./outage');
const { FleetRecords, LocalRecords } = require('./records');
const { cacheOf, fleetOf, localBeside, milliseconds, plainText, spaceOf } = require('./source');

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

/** @param {any} source @param {string} prefix @returns {import('./records').Records} */
function recordsOf(source, prefix) {
  const [cache, fleet] = [cacheOf(source, 'sessions'), fleetOf(source)];
  if (fleet === null) return new LocalRecords(cache, prefix);
  const own = encodeURIComponent(prefix);
  const records = new FleetRecords(fleet, `${spaceOf('session', cache)}:${own}`);
  return fleet.config.onFailure === 'refuse' ? records : new KeptRecords(records, localBeside(cache), `${own}\n`, outageOf(fleet));
}

/** @typedef {import('./records').Seen} Seen */

class DroverStore extends Store {
  #records;
  #ttl;
  /** As what they were read. @type {WeakMap<object, Seen>} */
  #read = new WeakMap();
  /**
   * The contents of sessions of requests, as they were loaded or saved. `seen`: since then.
   *
   * @type {WeakMap<object, { id: string, contents: string, seen?: Seen }>}
   */
  #known = new WeakMap();

  /**
   * @param {any} source an app, its cache, or a namespace of it
   * @param {{ ttl?: number | string, prefix?: string }} [options] `ttl`: of sessions whose cookie ends with the browser
   */
  constructor(source, { ttl = DEFAULT_TTL, prefix = '' } = {}) {
    super();
    this.#records = recordsOf(source, plainText('prefix', prefix));
    this.#ttl = milliseconds('ttl', ttl);
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
    this.#known.set(made, { id: request.sessionID, contents: contentsOf(made), seen: this.#read.get(session) });
    return made;
  }

  /** @override @param {string} id @param {any} session @param {Callback} [callback] */
  set(id, session, callback) {
    return answer(this.#set(id, session), callback);
  }

  /** @override @param {string} id @param {any} session @param {Callback} [callback] */
  touch(id, session, callback) {
    return answer(this.#touch(id, session.cookie, this.#seen(id, session)), callback);
  }

  /** @override @param {string} id @param {Callback} [callback] */
  destroy(id, callback) {
    return answer(this.#records.remove(id), callback);
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
    return answer(this.#records.clear(), callback);
  }

  /** @param {string} id */
  async #get(id) {
    const seen = await this.#records.read(id);
    if (seen === undefined) return undefined;
    const session = currentOf(seen.text);
    if (session !== undefined) this.#read.set(session, seen);
    return session;
  }

  /** How a session of a request was loaded. @param {string} id @param {any} session */
  #seen(id, session) {
    const known = this.#known.get(session);
    return known?.id === id ? known.seen : undefined;
  }

  /** @param {string} id @param {any} session */
  async #set(id, session) {
    // Sessions change while they are being stored.
    const text = JSON.stringify(session);
    const parsed = JSON.parse(text);
    const contents = contentsOf(parsed);
    const known = this.#known.get(session);
    if (known?.id !== id) await this.#store(id, text, parsed);
    else if (known.contents === contents) await this.#touch(id, parsed.cookie, known.seen);
    else await this.#replace(id, () => text, known.seen);
    this.#known.set(session, { id, contents });
  }

  /** @param {string} id @param {any} cookie @param {Seen} [seen] */
  async #touch(id, cookie, seen) {
    await this.#replace(id, (text) => JSON.stringify({ ...JSON.parse(text), cookie }), seen);
  }

  /** @param {string} id @param {string} text @param {any} session */
  async #store(id, text, session) {
    const life = this.#lifeOf(session);
    if (life === undefined) await this.#records.remove(id);
    else await this.#records.write(id, text, life);
  }

  /**
   * Replaces a session that is there, by what is made of its text.
   *
   * @param {string} id
   * @param {(text: string) => string} change
   * @param {Seen} [seen] as what it was read before
   */
  async #replace(id, change, seen) {
    for (let found = seen ?? (await this.#records.read(id)); found !== undefined; found = await this.#records.read(id)) {
      const changed = change(found.text);
      const life = this.#lifeOf(JSON.parse(changed));
      if (life === undefined) {
        await this.#records.remove(id);
        return;
      }
      // Otherwise another process was faster, which succeeded.
      if (await this.#records.replace(id, found.seen, changed, life)) return;
    }
  }

  /** Of the session, in milliseconds; undefined: it has ended. @param {any} session */
  #lifeOf(session) {
    const end = endOf(session);
    if (end === undefined) return this.#ttl;
    const left = end - Date.now();
    return left > 0 ? left : undefined;
  }

  async #all() {
    /** @type {Record<string, any>} */
    const sessions = Object.create(null);
    for await (const [id, text] of this.#records.all()) {
      const session = currentOf(text);
      if (session !== undefined) sessions[id] = session;
    }
    return sessions;
  }
}

/** The session of a text; undefined: it has ended. @param {string} text */
function currentOf(text) {
  const session = JSON.parse(text);
  const end = endOf(session);
  return end === undefined || end > Date.now() ? session : undefined;
}

exports.DroverStore = DroverStore;
