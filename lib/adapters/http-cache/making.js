// @ts-check
'use strict';

// A response that the handlers make now: decides at its header fields what becomes of it, and stores it.

const { names, textOf } = require('./fields');
const policy = require('./policy');
const { Recorder } = require('./recorder');

/** @typedef {import('./recorder').Answer} Answer */
/** @typedef {import('./store').Entry} Entry */
/** @typedef {import('./core').Exchange} Exchange */
/** @typedef {import('./core').Asked} Asked */

/** Conditional fields that a validation replaces. */
const CONDITIONS = ['if-none-match', 'if-modified-since'];

class Making {
  #store;
  #options;
  #exchange;
  #asked;
  #entry;
  #generation;
  /** The client's own conditions, while others are in their place. @type {Record<string, string | undefined> | null} */
  #conditions = null;
  #times = { asked: Date.now(), received: 0 };
  /** @type {import('./policy').Stored | undefined} */
  #stored;
  /** @type {string[]} */
  #vary = [];
  /** Writes of the cache that are under way. @type {Promise<unknown>} */
  #written = Promise.resolve();
  /** @type {(value?: any) => void} */
  #settle = () => {};

  /**
   * @param {import('./store').Store} store
   * @param {import('./core').Settings} options
   * @param {Exchange} exchange
   * @param {Asked} asked
   * @param {Entry | undefined} entry a stored response that is to be validated
   * @param {string} generation of the URI's responses
   * @param {boolean} isDetached nobody reads the response
   */
  constructor(store, options, exchange, asked, entry, generation, isDetached) {
    this.#store = store;
    this.#options = options;
    this.#exchange = exchange;
    this.#asked = asked;
    this.#entry = entry;
    this.#generation = generation;
    /** Resolves when the response is stored, or when it is known that it will not be. @type {Promise<void>} */
    this.over = new Promise((resolve) => (this.#settle = resolve));
    if (entry !== undefined) this.#ask(policy.conditionsOf(entry.stored));
    new Recorder(
      exchange.response,
      { head: (status, fields) => this.#head(status, fields), over: (body) => this.#over(body) },
      { isHead: asked.request.method === 'HEAD', before: exchange.before, limit: options.maxBodySize, isDetached },
    );
  }

  /** Asks the handlers whether the stored response is still right. @param {Record<string, string>} conditions */
  #ask(conditions) {
    if (Object.keys(conditions).length === 0) return;
    const { headers } = this.#exchange.request;
    this.#conditions = Object.fromEntries(CONDITIONS.map((name) => [name, headers[name]]));
    change(headers, { ...Object.fromEntries(CONDITIONS.map((name) => [name, undefined])), ...conditions });
  }

  /** @param {number} status @param {import('./fields').Fields} fields @returns {'record' | 'ignore' | Answer} */
  #head(status, fields) {
    const { request, uri } = this.#asked;
    const { heuristic, keepForValidation, maxBodySize } = this.#options;
    const { before } = this.#exchange;
    const times = this.#times;
    times.received = Date.now();
    const isValidation = this.#restore();
    const isOwn = (/** @type {string} */ name) => String(before[name]) !== String(fields[name]);
    const entry = this.#entry;
    if (entry !== undefined) {
      const isConfirmed = request.method === 'HEAD' && status === 200 && confirms(entry, fields);
      if ((isValidation && status === 304 && policy.isValidated(entry.stored, fields)) || isConfirmed) {
        const stored = policy.freshened(entry.stored, fields, times, heuristic, isOwn);
        this.#write(this.#store.renew(uri, this.#generation, entry.key, stored, entry.body, policy.usefulFor(stored, keepForValidation)));
        return this.#options.replay(request, { ...entry, stored });
      }
      if (policy.hidesFailure(request, entry.stored, status, times.received)) return this.#options.replay(request, entry);
    }
    const isStored = policy.mayStore(request, status, fields, times.received, heuristic) && Number(fields['content-length'] ?? 0) <= maxBodySize;
    if (isStored) {
      this.#stored = policy.storedOf(status, fields, times, heuristic, isOwn);
      this.#vary = names(textOf(fields, 'vary')).sort();
      // What a HEAD says now is not true of the response to a GET.
      if (request.method === 'HEAD' && entry !== undefined) this.#write(this.#store.drop(entry.key));
      return 'record';
    }
    // A failure says nothing about what is stored.
    if (entry !== undefined && status < 500 && status !== 304) this.#write(this.#store.drop(entry.key));
    else if (entry === undefined && policy.isShareable(request)) this.#write(this.#store.pass(uri, this.#generation));
    return 'ignore';
  }

  /** Gives the client's own conditions back; whether there were others. */
  #restore() {
    if (this.#conditions === null) return false;
    change(this.#exchange.request.headers, this.#conditions);
    this.#conditions = null;
    return true;
  }

  /** @param {Buffer | null} body */
  #over(body) {
    this.#restore();
    const stored = this.#stored;
    if (stored !== undefined) {
      const { uri, request } = this.#asked;
      const about = { uri, method: request.method, headers: request.headers, generation: this.#generation };
      if (body !== null) this.#write(this.#store.keep(about, stored, this.#vary, body, policy.usefulFor(stored, this.#options.keepForValidation)));
      // It turned out to be too large: the next ones need not wait for each other either.
      else if (!this.#exchange.response.destroyed) this.#write(this.#store.pass(uri, this.#generation));
    }
    this.#written.then(this.#settle);
  }

  /** @param {Promise<unknown>} work whose failure costs only the stored response */
  #write(work) {
    this.#written = Promise.all([this.#written, work]).catch(() => {});
  }
}

/** Whether the response to a HEAD describes what is stored (RFC 9111, 4.3.5). @param {Entry} entry @param {import('./fields').Fields} fields */
function confirms({ stored, body }, fields) {
  const length = textOf(fields, 'content-length');
  const has = (/** @type {string} */ name, /** @type {string | undefined} */ value) => fields[name] === undefined || textOf(fields, name) === value;
  return (length === undefined || Number(length) === body.length) && has('etag', stored.etag) && has('last-modified', stored.modified);
}

/** @param {any} headers @param {Record<string, string | undefined>} values undefined: it is removed */
function change(headers, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) delete headers[name];
    else headers[name] = value;
  }
}

module.exports = { Making };
