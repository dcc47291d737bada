// @ts-check
'use strict';

// `app.cache`: one cache for all processes of a cluster, and a view of it for each namespace. It is opened when it is
// used for the first time.

const { EventEmitter } = require('node:events');
const path = require('node:path');
const { setImmediate } = require('node:timers/promises');
const { inspect } = require('node:util');
const { ClusterError } = require('../errors');
const { addon, constants } = require('../native');
const { turnTime } = require('./clock');
const { Connection, DELETED } = require('./connection');
const { Figures } = require('./figures');
const { Flights } = require('./flights');
const { Found, hashOn } = require('./memory');
const { decode, encode } = require('./values');
const { Written } = require('./written');

const kinds = constants?.cache.kind ?? {};
const { status: statuses, notice: notices } = constants?.cache ?? { status: {}, notice: {} };
const { COUNTER } = kinds;
/** Values up to this kind are texts, which are returned as they are. */
const MAX_PLAIN = kinds.WIDE_TEXT;

/**
 * @typedef {object} Options of a value
 * @property {number | string} [ttl] how long it lives; 0: for any time
 * @property {number | string} [grace] how long after that `getOrSet` may use it while it computes a new one
 * @property {string[]} [tags] for `invalidateTags`
 */

/** For a process whose configuration could not be read: bytes. */
const DEFAULT_SIZE = 64 << 20;

/** Buckets that `keys` reads in a turn: some milliseconds at most. */
const BUCKETS_A_TURN = 1 << 14;

/** Looks at a counter that is gone, before it counts as absent: the writer replaces one in microseconds. */
const MAX_TRIES = 100;

/** Milliseconds of durations that are texts. @type {Map<string, number>} */
const durations = new Map();
const MAX_DURATIONS = 1000;

/** @param {string} name @param {any} value */
function milliseconds(name, value) {
  if (typeof value === 'number' && value >= 0) return value === Infinity ? 0 : value;
  const known = durations.get(value);
  if (known !== undefined) return known;
  const parsed = typeof value === 'string' ? addon.parseDuration(value) : null;
  if (parsed === null) {
    throw new ClusterError(`cache: ${name}: found ${inspect(value)}, allowed: milliseconds, or a text such as '30s' or '5m'`, 'INVALID_ARGUMENT');
  }
  if (durations.size < MAX_DURATIONS) durations.set(value, parsed);
  return parsed;
}

/** @param {string} what @param {any} text */
function checkText(what, text) {
  if (typeof text === 'string') return;
  throw new ClusterError(`cache: found ${inspect(text)}, allowed: a text as the ${what}`, 'INVALID_ARGUMENT');
}

/** Tags as the writer reads them. @param {any} tags */
function tagText(tags) {
  if (tags === undefined) return '';
  const isValid = Array.isArray(tags) && tags.every((tag) => typeof tag === 'string' && tag !== '' && !tag.includes('\0'));
  if (isValid) return tags.map((tag) => `${tag}\0`).join('');
  throw new ClusterError(`cache: tags: found ${inspect(tags)}, allowed: an array of texts without NUL characters`, 'INVALID_ARGUMENT');
}

/** What all namespaces of a process share. */
class Shared {
  /** @type {Connection | null} */
  #connection = null;
  #open;
  #save;

  /**
   * @param {(into: object, deliver: (...numbers: number[]) => void) => any} open
   * @param {any} config the options in `cache`
   * @param {() => void} save writes the contents to their file
   */
  constructor(open, config, save) {
    this.#open = open;
    this.#save = save;
    this.config = config;
    this.isAdvanced = config.serialization === 'advanced';
    /** The other machines' caches, if there are some. @type {import('../fleet/fleet').Fleet | null} */
    this.fleet = null;
    /** @type {Map<string, Cache>} */
    this.namespaces = new Map();
    this.hasWarned = false;
    /** Evictions and invalidations are reported. */
    this.follows = false;
  }

  /** Somebody began or stopped listening to evictions or invalidations. */
  followAsNeeded() {
    const isHeard = (/** @type {Cache} */ cache) => cache.listenerCount('evicted') + cache.listenerCount('invalidated') > 0;
    const follows = [...this.namespaces.values()].some(isHeard);
    if (follows === this.follows) return;
    this.follows = follows;
    if (follows) this.connect();
    if (this.#connection !== null && !this.#connection.isClosed) this.#connection.follow(follows);
  }

  /** @param {number} what @param {number} count @param {string} text */
  #noticed(what, count, text) {
    if (what === notices.UNTAGGED || what === notices.DROPPED) {
      const root = this.namespaces.get('');
      if (what === notices.DROPPED) root?.emit('dropped', count);
      // Tags are UTF-8.
      else root?.emit('invalidated', { tag: Buffer.from(text, 'latin1').toString(), count });
      return;
    }
    const end = text.indexOf('\0');
    const cache = this.namespaces.get(text.slice(0, end));
    const rest = text.slice(end + 1);
    if (what === notices.EVICTED) cache?.emit('evicted', rest);
    else cache?.emit('invalidated', { pattern: rest, count });
  }

  connect() {
    if (this.#connection !== null) return this.#connection;
    const connection = new Connection(this.#open, {
      closed: (why) => {
        for (const cache of this.namespaces.values()) cache.forget();
        if (why !== '') console.warn(`drover: the cache has ended in this process, and every look is a miss from now on: ${why}`);
      },
      failed: (error) => this.report(error),
      noticed: (what, count, text) => this.#noticed(what, count, text),
    });
    if (this.follows) connection.follow(true);
    process.on('exit', () => this.save());
    this.#connection = connection;
    return connection;
  }

  /** Sends what is queued, then writes the contents to their file, if there is one. */
  save() {
    if (this.#connection !== null && !this.#connection.isClosed) this.#connection.flush();
    this.#save();
  }

  /** A write or a computation failed that nobody waits for. @param {any} error */
  report(error) {
    const root = this.namespaces.get('');
    if (root !== undefined && root.listenerCount('error') > 0) {
      root.emit('error', error);
    } else if (!this.hasWarned) {
      this.hasWarned = true;
      const text = error instanceof Error ? error.message : String(error);
      console.warn(`drover: a value of the cache was not stored: ${text}. No later failure is printed: await set(), or listen to the cache's 'error'`);
    }
  }
}

class Cache extends EventEmitter {
  #shared;
  #name;
  #prefix;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {any} */
  #near = null;
  /** The beginning of the hash of the namespace's keys. */
  #state = 0;
  /** The place of what is not kept. */
  #spare = new Found();
  #flights;
  /** What was found last was known or written by this process. */
  #isNear = false;
  #tellsHits = false;
  #tellsMisses = false;
  #figures;
  /** Its contents belong to this machine. */
  #isLocal = false;

  /** @param {Shared} shared @param {string} name */
  constructor(shared, name) {
    super();
    this.#shared = shared;
    this.#name = name;
    this.#prefix = `${name}\0`;
    this.#figures = new Figures(() => this.#connect(), this.#prefix);
    this.#flights = new Flights({
      peek: (key) => this.#peek(key),
      claim: (key, renews) => this.#connect().claim(this.#prefix + key, renews),
      release: (key) => this.#connect().release(this.#prefix + key),
      looked: (key, isHit) => this.#looked(key, isHit),
      counted: (isOwn) => this.#count(isOwn ? 'computed' : 'waited'),
      land: (key, value, options) => void this.#set(key, value, options, true),
      valueOf: (entry) => this.#valueOf(entry),
      failed: (error) => void (this.listenerCount('error') > 0 ? this.emit('error', error) : shared.report(error)),
    });
    const follow = () => {
      this.#tellsHits = this.listenerCount('hit') > 0;
      this.#tellsMisses = this.listenerCount('miss') > 0;
      shared.followAsNeeded();
    };
    this.on('newListener', () => queueMicrotask(follow));
    this.on('removeListener', follow);
  }

  /** What is invalidated in this process's machine is invalidated in all of them. @param {Cache} cache @param {import('../fleet/fleet').Fleet} fleet */
  static joinFleet(cache, fleet) {
    cache.#shared.fleet = fleet;
  }

  /** The fleet of the cache's machine; null: there is none. @param {Cache} cache */
  static fleetOf(cache) {
    return typeof cache === 'object' && cache !== null && #shared in cache ? cache.#shared.fleet : null;
  }

  /** The contents of this namespace belong to this machine: invalidations pass neither way. @param {Cache} cache */
  static keepLocal(cache) {
    if (!(#shared in cache) || cache.#isLocal) return;
    cache.#isLocal = true;
    cache.#shared.fleet?.keepLocal(cache.#prefix);
  }

  /** The name of this namespace; '' for the whole cache's own. */
  get name() {
    return this.#name;
  }

  /** @param {string} key @returns {any} undefined: it is not there, or too old */
  get(key) {
    // What was read before is the common case.
    let known = this.#near?.newer.get(key);
    if (known !== undefined && known.expires === 0 && known.kind <= MAX_PLAIN) {
      const { memory, ownCount } = /** @type {Connection} */ (this.#connection);
      if (ownCount === 0 && memory.words[known.cell] === known.version) {
        memory.noteRead(known);
        this.#figures.nearHits += 1;
        this.#figures.touch();
        if (this.#tellsHits) this.emit('hit', key);
        return known.value;
      }
    }
    checkText('key', key);
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const entry = this.#find(key, known);
      if (entry === undefined || (entry.expires !== 0 && entry.expires <= turnTime())) break;
      const value = this.#valueOf(entry);
      if (value !== undefined) {
        this.#looked(key, true);
        return value;
      }
      // A counter that the writer is replacing, or that is in another memory now.
      known = undefined;
      this.#connect().catchUp();
    }
    this.#looked(key, false);
    return undefined;
  }

  /** @param {'nearHits' | 'farHits' | 'misses' | 'computed' | 'waited'} what */
  #count(what) {
    this.#figures[what] += 1;
    this.#figures.touch();
  }

  /** @param {string} key @param {boolean} isHit */
  #looked(key, isHit) {
    if (isHit) {
      this.#count(this.#isNear ? 'nearHits' : 'farHits');
      if (this.#tellsHits) this.emit('hit', key);
    } else {
      this.#count('misses');
      if (this.#tellsMisses) this.emit('miss', key);
    }
  }

  /** The values of several keys, in their order. @param {string[]} keys */
  getMany(keys) {
    return keys.map((key) => this.get(key));
  }

  /** @param {string} key */
  has(key) {
    checkText('key', key);
    const entry = this.#peek(key);
    return entry !== undefined && (entry.expires === 0 || entry.expires > turnTime());
  }

  /** When its lifetime ends, in milliseconds since 1970; Infinity: never; undefined: there is no value. @param {string} key */
  expiresAt(key) {
    checkText('key', key);
    const entry = this.#peek(key);
    if (entry === undefined) return undefined;
    if (entry.expires === 0) return Infinity;
    return entry.expires > turnTime() ? entry.expires : undefined;
  }

  /** The keys of this namespace: see `types/cache.d.ts`. */
  async *keys() {
    const connection = this.#connect();
    await connection.sync();
    let { memory } = connection;
    /** @type {import('./memory').Listed[]} */
    const listed = [];
    let from = 0;
    while (!connection.isClosed) {
      const to = Math.min(from + BUCKETS_A_TURN, memory.buckets);
      const keys = memory.keys(this.#prefix, turnTime(), from, to, listed);
      // It may have been emptied meanwhile: the rest is in the next one.
      const isWhole = memory === connection.memory && !memory.isRetired();
      if (isWhole) {
        yield* keys;
        if (to === memory.buckets) return;
        from = to;
      }
      if (!connection.catchUp()) await setImmediate();
      if (memory === connection.memory) continue;
      listed.push({ mask: memory.mask, to: from });
      memory = connection.memory;
      from = 0;
    }
  }

  /**
   * Visible to this process at once, to others after microseconds; the result can be awaited until all see it.
   *
   * @param {string} key
   * @param {any} value
   * @param {Options} [options]
   */
  set(key, value, options) {
    checkText('key', key);
    const number = this.#set(key, value, options, false);
    return new Written(this.#connect(), number);
  }

  /** @param {string} key @param {(key: string) => any} factory @param {Options & import('./flights').Waits} [options] */
  getOrSet(key, factory, options) {
    checkText('key', key);
    if (typeof factory !== 'function') {
      throw new ClusterError(`cache: found ${inspect(factory)}, allowed: a function that computes the value`, 'INVALID_ARGUMENT');
    }
    const waits = {
      timeout: options?.timeout === undefined ? undefined : milliseconds('timeout', options.timeout),
      hardTimeout: options?.hardTimeout === undefined ? undefined : milliseconds('hardTimeout', options.hardTimeout),
    };
    // Faults in the options are found before the work is done.
    this.#how(options);
    return this.#flights.getOrSet(key, factory, options, waits);
  }

  /** Whether it was there. @param {string} key */
  async delete(key) {
    checkText('key', key);
    const { status } = await this.#everywhere('key', this.#prefix + key, this.#connect().delete(this.#prefix + key));
    return status === statuses.DONE;
  }

  /** The new count; a new key begins with 0. @param {string} key @param {number} [by] @param {Options} [options] */
  async increment(key, by = 1, options) {
    checkText('key', key);
    if (!Number.isSafeInteger(by)) throw new ClusterError(`cache: found ${inspect(by)}, allowed: a whole number`, 'INVALID_ARGUMENT');
    const connection = this.#connect();
    const entry = this.#peek(key);
    if (entry?.kind === COUNTER && (entry.expires === 0 || entry.expires > turnTime())) {
      const { counter, generation } = /** @type {Found} */ (/** @type {unknown} */ (entry));
      const count = connection.add(counter, generation, by);
      if (!Number.isNaN(count)) return count;
    }
    const { number } = await connection.increment(this.#prefix + key, by, this.#how(options).expires);
    return number;
  }

  /** @param {string} key @param {number} [by] @param {Options} [options] */
  decrement(key, by = 1, options) {
    return this.increment(key, -by, options);
  }

  /**
   * Whether the key had exactly the value that was expected (undefined: none), and has the new one now.
   *
   * @param {string} key
   * @param {any} expected
   * @param {any} value
   * @param {Options} [options]
   */
  async compareAndSet(key, expected, value, options) {
    checkText('key', key);
    const { isAdvanced } = this.#shared;
    const before = expected === undefined ? null : encode(expected, isAdvanced);
    const { status } = await this.#connect().compareAndSet(this.#prefix + key, before, encode(value, isAdvanced), this.#how(options));
    return status === statuses.DONE;
  }

  /** The number of entries whose keys matched; `*` stands for any text. @param {string} pattern */
  async invalidate(pattern) {
    checkText('pattern', pattern);
    const { number } = await this.#everywhere('pattern', this.#prefix + pattern, this.#connect().invalidate(this.#prefix + pattern));
    return number;
  }

  /** Entries of all namespaces that have one of the tags. @param {string | string[]} tags */
  async invalidateTags(tags) {
    const all = [tags].flat();
    tagText(all);
    const counts = await Promise.all(all.map((tag) => this.#everywhere('tag', tag, this.#connect().invalidateTag(tag))));
    return counts.reduce((sum, { number }) => sum + number, 0);
  }

  /**
   * Resolves to the result of an invalidation here, when the other machines are told too.
   *
   * @template T
   * @param {'pattern' | 'key' | 'tag'} what
   * @param {string} text
   * @param {Promise<T>} here
   * @returns {Promise<T>}
   */
  async #everywhere(what, text, here) {
    const { fleet } = this.#shared;
    if (fleet === null || this.#isLocal) return here;
    const [result] = await Promise.all([here, fleet.invalidate(what, text)]);
    return result;
  }

  /** Removes every entry of this namespace. */
  clear() {
    return this.invalidate('*');
  }

  /** A part of the cache with keys of its own. @param {string} name */
  namespace(name) {
    checkText('name of the namespace', name);
    if (/[\0*]/.test(name)) throw new ClusterError(`cache: found the namespace ${inspect(name)}, allowed: a name without '*' and NUL characters`, 'INVALID_ARGUMENT');
    return namespaceOf(this.#shared, name);
  }

  /** The figures of this namespace in the whole cluster: see `types/cache.d.ts`. */
  async stats() {
    const { nearHits, farHits, ...others } = await this.#figures.read();
    return { hits: nearHits + farHits, nearHits, farHits, ...others };
  }

  /** Fills the cache, once in the cluster's life; resolves when that is done, by whatever process. @param {(cache: Cache) => any} fill */
  warmUp(fill) {
    return this.#connect().once('warm', () => fill(this));
  }

  /** Writes the contents to their file, if there is one, with what this process has written. */
  save() {
    this.#shared.save();
  }

  /** The channel has ended: nothing is there any more. */
  forget() {
    this.#near = null;
  }

  #connect() {
    if (this.#connection !== null) return this.#connection;
    const connection = this.#shared.connect();
    this.#near = connection.nearMaps.add();
    this.#state = hashOn(connection.memory.seed, this.#prefix);
    this.#connection = connection;
    return connection;
  }

  /** @param {Options | undefined} options */
  #how(options) {
    const { config } = this.#shared;
    const given = options?.ttl ?? config.defaultTtl;
    const ttl = given === undefined || given === null ? 0 : milliseconds('ttl', given);
    const grace = options?.grace ?? config.grace;
    return {
      expires: ttl === 0 ? 0 : turnTime() + ttl,
      grace: grace === undefined ? 0 : milliseconds('grace', grace),
      early: Math.round(ttl * (config.earlyRefresh ?? 0)),
      tags: tagText(options?.tags),
    };
  }

  /** @param {string} key @param {any} value @param {Options | undefined} options @param {boolean} lands */
  #set(key, value, options, lands) {
    return this.#connect().set(this.#prefix + key, encode(value, this.#shared.isAdvanced), this.#how(options), lands);
  }

  /** The entry, however old it is. @param {string} key @returns {any} undefined: there is none */
  #peek(key) {
    this.#connect();
    return this.#find(key, this.#near?.newer.get(key));
  }

  /**
   * @param {string} key
   * @param {Found | undefined} newer what is known among the newer
   * @returns {any} undefined: there is none
   */
  #find(key, newer) {
    let found = this.#look(key, newer);
    while (found === undefined && this.#connect().catchUp()) found = this.#look(key, undefined);
    return found;
  }

  /** As `#find`, in the memory that this process knows. @param {string} key @param {Found | undefined} newer @returns {any} */
  #look(key, newer) {
    const connection = this.#connect();
    this.#isNear = true;
    if (connection.ownCount !== 0) {
      const own = connection.own(this.#prefix + key);
      if (own !== undefined) return own.kind === DELETED ? undefined : own;
    }
    const near = this.#near;
    if (near === null) return undefined;
    const { memory, nearMaps } = connection;
    const known = newer ?? near.recall(key);
    if (known !== undefined) {
      this.#isNear = memory.isValid(known);
      if (this.#isNear || memory.read(this.#prefix, this.#state, key, known)) {
        memory.noteRead(known);
        return known;
      }
      near.drop(key);
      return undefined;
    }
    this.#isNear = false;
    if (!memory.read(this.#prefix, this.#state, key, this.#spare)) return undefined;
    const found = this.#spare;
    this.#spare = new Found();
    memory.noteRead(found);
    nearMaps.keep(near, key, found);
    return found;
  }

  /** Its value; undefined: a counter that is gone. @param {any} entry */
  #valueOf(entry) {
    if (entry.kind !== COUNTER) return decode(entry.kind, entry.value);
    const count = this.#connect().count(entry.counter, entry.generation);
    return Number.isNaN(count) ? undefined : count;
  }
}

/** @param {Shared} shared @param {string} name */
function namespaceOf(shared, name) {
  const known = shared.namespaces.get(name);
  if (known !== undefined) return known;
  const made = new Cache(shared, name);
  shared.namespaces.set(name, made);
  return made;
}

/** @param {any} config the options in `cache` @returns {any} the core's cache, for the process that has its memory */
function coreCache({ maxSize = DEFAULT_SIZE, maxEntries, persist }) {
  if (addon === null) throw new ClusterError('The cache needs the addon, which this platform does not have', 'NOT_SUPPORTED');
  return new addon.SharedCache(maxSize, maxEntries ?? 0, persist ? path.resolve(persist) : '');
}

/**
 * The cache of a process.
 *
 * @param {(into: object, deliver: (...numbers: number[]) => void) => any} open
 * @param {any} config the options in `cache`
 * @param {() => void} [save] writes the contents to their file
 */
function sharedCache(open, config, save = () => {}) {
  return namespaceOf(new Shared(open, config, save), '');
}

exports.Cache = Cache;
exports.coreCache = coreCache;
exports.fleetOf = Cache.fleetOf;
exports.joinFleet = Cache.joinFleet;
exports.keepLocal = Cache.keepLocal;
exports.sharedCache = sharedCache;
