// @ts-check
'use strict';

// This process's channel to the cache's writer: numbered requests and their answers, and what this process has written
// but the writer has not done yet, so that it reads its own writes.

const { ClusterError, unwrap } = require('../errors');
const { constants } = require('../native');
const { Memory } = require('./memory');
const { NearMaps } = require('./near');

// `bindings/cache.rs` describes the requests.
const { status: statuses, operation: operations, flag, notice: notices } = constants?.cache ?? { status: {}, operation: {}, flag: {}, notice: {} };
const { AWAITED, LANDS, HAS_VALUE, HAS_TAGS, HAS_EXPECTED } = flag;

/** The kind of a value that was deleted. */
const DELETED = -1;
/** Own writes from which on those that are done are looked for. */
const MANY = 4096;
/** Failures that are kept for who asks late. */
const MAX_FAILURES = 1000;

/** @typedef {{ number: number, kind: number, value: any, expires: number, grace: number, early: number }} OwnWrite */
/** @typedef {{ status: number, number: number }} Answer */

/**
 * @typedef {object} Report what a connection reports
 * @property {(why: string) => void} closed it has ended; why, if the writer has not ended it
 * @property {(error: Error) => void} failed a write failed that nobody waits for
 * @property {(what: number, count: number, text: string) => void} noticed what `follow` asked for
 */

/** Why a request failed, by its status. @type {Record<number, [code: string, message: string]>} */
const FAILURES = {
  [statuses.KEY_TOO_LONG]: ['INVALID_ARGUMENT', 'the key is too long: found more than 4096 characters with its namespace'],
  [statuses.VALUE_TOO_LARGE]: ['INVALID_ARGUMENT', 'the value is too large: allowed is an eighth of cache.maxSize'],
  [statuses.NO_ROOM]: ['RESOURCE_EXHAUSTED', 'there is no room for the value (cache.maxSize)'],
  [statuses.NOT_A_NUMBER]: ['INVALID_ARGUMENT', 'the value is not a whole number'],
  [statuses.OUT_OF_RANGE]: ['INVALID_ARGUMENT', 'the count would be out of range: allowed are 48 bits for a counter, 64 with other values'],
};

/** Why a request was not sent, by what `post` returned. @type {Record<number, [code: string, message: string]>} */
const UNSENT = {
  [-1]: FAILURES[statuses.VALUE_TOO_LARGE],
  [-2]: ['STOPPED', 'the cache has ended with its cluster'],
  [-3]: ['RESOURCE_EXHAUSTED', 'the primary takes no requests, and 16 MB of them are waiting'],
  [-4]: ['INVALID_ARGUMENT', 'the arguments cannot be read'],
};

/** @param {[code: string, message: string]} failure */
function failed([code, message]) {
  return new ClusterError(`cache: ${message}`, code);
}

class Connection {
  /** Own writes by key. @type {Map<string, OwnWrite>} */
  #own = new Map();
  /** Requests that wait for an answer. @type {Map<number, { resolve: (answer: Answer) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** Requests without an answer whose failure somebody waits for. @type {Set<number>} */
  #awaited = new Set();
  /** @type {Map<number, Error>} */
  #failures = new Map();
  /** Writes that were not sent have negative numbers. */
  #lastRefused = 0;
  #native;
  /** The number of this process. */
  #client;

  /**
   * @param {(into: object, deliver: (...numbers: number[]) => void) => any} open puts the memory and the functions of
   * `bindings/cache.rs` on the object
   * @param {Report} report
   */
  constructor(open, report) {
    /** @type {any} */
    const native = {};
    const { client } = unwrap(open(native, (...values) => this.#deliver(values)));
    this.#native = native;
    this.#client = client;
    this.report = report;
    this.memory = new Memory(native, client);
    this.nearMaps = new NearMaps();
    /** Own writes that may not be done. */
    this.ownCount = 0;
    this.isClosed = false;
  }

  /** What this process has written and the writer has not done yet. @param {string} name the key with its namespace */
  own(name) {
    const done = this.memory.done();
    for (const [key, { number }] of this.#own) {
      if (((done - number) | 0) < 0) break;
      this.#own.delete(key);
    }
    this.ownCount = this.#own.size;
    return this.ownCount === 0 ? undefined : this.#own.get(name);
  }

  /** @param {string} name @param {OwnWrite} write */
  #remember(name, write) {
    if (this.ownCount > MANY) this.own('');
    this.#own.delete(name);
    this.#own.set(name, write);
    this.ownCount = this.#own.size;
  }

  /**
   * @param {string} name
   * @param {import('./values').Encoded} encoded
   * @param {{ expires: number, grace: number, early: number, tags: string }} how
   * @param {boolean} lands it is the result of the key's flight
   */
  set(name, { kind, body }, { expires, grace, early, tags }, lands) {
    const what = operations.SET | (kind << 8) | HAS_VALUE | (tags === '' ? 0 : HAS_TAGS) | (lands ? LANDS : 0);
    const number = this.#native.post(what, name, body, expires, grace, early, 0, tags, undefined);
    if (number < 0) {
      this.#drop(name, lands);
      return this.#refuse(failed(UNSENT[number]));
    }
    // The program may change its Buffer.
    const value = typeof body === 'string' ? body : Buffer.from(body);
    this.#remember(name, { number, kind, value, expires, grace, early });
    return number;
  }

  /** A value was not sent: what the key had is gone, as after one that the writer refuses. @param {string} name @param {boolean} lands */
  #drop(name, lands) {
    const number = this.#native.post((operations.DELETE | (lands ? LANDS : 0)) >>> 0, name, undefined, 0, 0, 0, 0, undefined, undefined);
    // Without a channel to the writer there is nothing to be done.
    if (number >= 0) this.#remember(name, { number, kind: DELETED, value: undefined, expires: 0, grace: 0, early: 0 });
  }

  /** @param {string} name */
  delete(name) {
    const answer = this.#ask(operations.DELETE, name);
    this.#remember(name, { number: answer.number, kind: DELETED, value: undefined, expires: 0, grace: 0, early: 0 });
    return answer.promise;
  }

  /** @param {string} name @param {number} by @param {number} expires */
  increment(name, by, expires) {
    return this.#ask(operations.INCREMENT, name, undefined, expires, 0, 0, by).promise;
  }

  /**
   * @param {string} name
   * @param {import('./values').Encoded | null} expected null: no fresh value
   * @param {import('./values').Encoded} encoded
   * @param {{ expires: number, grace: number, early: number, tags: string }} how
   */
  compareAndSet(name, expected, { kind, body }, { expires, grace, early, tags }) {
    const flags = HAS_VALUE | (tags === '' ? 0 : HAS_TAGS) | (expected === null ? 0 : HAS_EXPECTED | (expected.kind << 24));
    return this.#ask(operations.COMPARE_AND_SET | (kind << 8) | flags, name, body, expires, grace, early, 0, tags, expected?.body).promise;
  }

  /** Resolves to the number of removed entries. @param {string} pattern */
  invalidate(pattern) {
    return this.#ask(operations.INVALIDATE, pattern).promise;
  }

  /** @param {string} tag */
  invalidateTag(tag) {
    // As tags are stored: in UTF-8.
    return this.#ask(operations.INVALIDATE_TAG, Buffer.from(tag).toString('latin1')).promise;
  }

  /** Asks to compute the key's value. @param {string} name @param {boolean} renews although there is a fresh value */
  claim(name, renews) {
    return this.#ask(operations.CLAIM, name, undefined, 0, 0, renews ? 1 : 0).promise;
  }

  /** The value is not computed any more: somebody else does. @param {string} name */
  release(name) {
    this.#post(operations.RELEASE, name, undefined, 0, 0, 0, 0, undefined, undefined);
  }

  /** A write that was not sent: a number for `written`. @param {Error} error */
  #refuse(error) {
    this.#lastRefused -= 1;
    const number = this.#lastRefused;
    // Its caller can await the result only after this.
    setImmediate(() => this.#fail(number, error));
    return number;
  }

  /** Resolves when a request without an answer is done and visible to all. @param {number} number */
  async written(number) {
    this.#awaited.add(number);
    try {
      if (number < 0) await new Promise(setImmediate);
      else if (!this.#failures.has(number)) await this.sync();
      const failure = this.#failures.get(number);
      if (failure !== undefined) throw failure;
    } finally {
      this.#awaited.delete(number);
      this.#failures.delete(number);
    }
  }

  /** Resolves when everything that this process has sent is done. */
  sync() {
    return this.#ask(operations.SYNC, '').promise;
  }

  /** @param {number} cell @param {number} generation */
  count(cell, generation) {
    return this.#native.count(cell, generation);
  }

  /** @param {number} cell @param {number} generation @param {number} by */
  add(cell, generation, by) {
    const count = this.#native.add(cell, generation, by);
    if (count === Infinity) throw failed(FAILURES[statuses.OUT_OF_RANGE]);
    return count;
  }

  /** The row of a namespace's figures. @param {string} prefix */
  async row(prefix) {
    const { number } = await this.#ask(operations.NAMESPACE, prefix).promise;
    return number;
  }

  /** Whether evictions and invalidations are reported. @param {boolean} follows */
  follow(follows) {
    this.#post(operations.FOLLOW, '', undefined, 0, 0, 0, follows ? 1 : 0, undefined, undefined);
  }

  /**
   * Does a task that is done once in a cluster's life: true if this process did it, false if another one has.
   *
   * @param {string} name
   * @param {() => any} task
   */
  async once(name, task) {
    const { status } = await this.#ask(operations.ONCE, name).promise;
    if (status === statuses.LANDED) return false;
    try {
      await task();
    } catch (error) {
      this.release(name);
      throw error;
    }
    this.#post(operations.FINISH | LANDS, name, undefined, 0, 0, 0, 0, undefined, undefined);
    return true;
  }

  /** Adds to a figure of the statistics. @param {number} cell @param {number} by */
  note(cell, by) {
    this.#native.note(cell, by);
  }

  /** @param {number} cell @returns {number} */
  figure(cell) {
    return this.#native.figure(cell);
  }

  /** Writes what is queued, before the process ends. */
  flush() {
    this.#native.flush();
  }

  /**
   * @param {number} what
   * @param {string} key
   * @param {any} [value]
   * @param {number} [expires]
   * @param {number} [grace]
   * @param {number} [early]
   * @param {number} [added]
   * @param {string} [tags]
   * @param {any} [expected]
   */
  #ask(what, key, value, expires = 0, grace = 0, early = 0, added = 0, tags, expected) {
    const number = this.#post(what | AWAITED, key, value, expires, grace, early, added, tags, expected);
    /** @type {Promise<Answer>} */
    const promise = new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) this.#native.hold(1);
      this.#waiting.set(number, { resolve, reject });
    });
    return { number, promise };
  }

  /**
   * @param {number} what
   * @param {string} key
   * @param {any} value
   * @param {number} expires
   * @param {number} grace
   * @param {number} early
   * @param {number} added
   * @param {string | undefined} tags
   * @param {any} expected
   * @returns {number}
   */
  #post(what, key, value, expires, grace, early, added, tags, expected) {
    const number = this.#native.post(what >>> 0, key, value, expires, grace, early, added, tags, expected);
    if (number < 0) throw failed(UNSENT[number]);
    return number;
  }

  /** @param {any[]} numbers three for each answer, or a notice, or that there is another memory */
  #deliver(numbers) {
    if (numbers[0] === notices.NOTICE) {
      this.report.noticed(numbers[1], numbers[2], numbers[3]);
      return;
    }
    if (numbers[0] === notices.REMAPPED) {
      this.#remap();
      return;
    }
    if (numbers[0] === 0 && numbers[1] === statuses.CLOSED) {
      this.#close(numbers[3]);
      return;
    }
    for (let at = 0; at < numbers.length; at += 3) {
      const [request, status, number] = [numbers[at], numbers[at + 1], numbers[at + 2]];
      if (FAILURES[status] !== undefined) this.#fail(request, failed(FAILURES[status]));
      else this.#settled(request)?.resolve({ status, number });
    }
  }

  /** There is another memory. */
  #remap() {
    this.memory = new Memory(this.#native, this.#client);
    this.nearMaps.forget();
  }

  /** Whether there is another memory, in which what was not found may be. What was found before is not valid then. */
  catchUp() {
    if (this.isClosed || !this.memory.isRetired() || this.#native.catchUp() !== 1) return false;
    this.#remap();
    return true;
  }

  /** @param {number} request @param {Error} error */
  #fail(request, error) {
    const waiting = this.#settled(request);
    if (waiting !== undefined) {
      waiting.reject(error);
      return;
    }
    if (!this.#awaited.has(request)) this.report.failed(error);
    this.#failures.set(request, error);
    if (this.#failures.size > MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value ?? 0);
  }

  /** @param {number} request */
  #settled(request) {
    const waiting = this.#waiting.get(request);
    if (this.#waiting.delete(request) && this.#waiting.size === 0) this.#native.hold(0);
    return waiting;
  }

  /** @param {string} why */
  #close(why) {
    this.isClosed = true;
    this.#own.clear();
    this.ownCount = 0;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    waiting.forEach(({ reject }) => reject(failed(UNSENT[-2])));
    this.report.closed(why);
  }
}

exports.Connection = Connection;
exports.DELETED = DELETED;
