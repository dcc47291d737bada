// @ts-check
'use strict';

// The cache between a framework and its handlers: answers a request from what is stored, or lets the handlers make the
// response and follows it.

const { inspect } = require('node:util');
const { ClusterError } = require('../../errors');
const { addon } = require('../../native');
const { cacheOf } = require('../source');
const { again } = require('./background');
const { Making } = require('./making');
const policy = require('./policy');
const { Recorder } = require('./recorder');
const { Store } = require('./store');

/** A key of the shared cache has 4,096 characters at most. */
const MAX_URI = 3000;
/** Requests whose predecessor was aborted wait for another so often, then they do it themselves. */
const MAX_TURNS = 3;
/** A renewal that a program has not answered by then is given up; milliseconds. */
const RENEWAL_TIMEOUT = 60_000;

/** @typedef {import('./recorder').Answer} Answer */
/** @typedef {import('./store').Entry} Entry */

/**
 * @typedef {object} Options
 * @property {number} [maxBodySize] bytes; larger responses are not stored
 * @property {number | string} [wait] how long a request waits for the response to another, before it makes its own
 * @property {number} [heuristic] the part of the time since Last-Modified that a response without a lifetime is fresh
 * @property {number | string} [keepForValidation] how long a stale response is kept to be validated
 * @property {boolean} [requestDirectives] clients may ask for new responses
 * @property {boolean} [cacheStatus] answers tell by Cache-Status (RFC 9211) that they come from here
 * @property {(request: any) => boolean} [skip] requests that the cache leaves alone
 */

/**
 * @typedef {object} Settings
 * @property {number} maxBodySize
 * @property {number} heuristic
 * @property {number} keepForValidation
 * @property {(request: import('./policy').Request, entry: Entry) => Answer} replay
 */

/**
 * @typedef {object} Exchange a request and its response
 * @property {any} request node:http's
 * @property {any} response
 * @property {string} url as the client has sent it
 * @property {string} protocol
 * @property {any} before the response's fields so far
 * @property {((request: any, response: any) => void) | undefined} rerun passes another request to the program
 */

/**
 * @typedef {object} Asked
 * @property {string} uri
 * @property {import('./policy').Request} request as the client has sent it
 */

/**
 * @typedef {object} Found what is stored for a request
 * @property {Answer} [answer]
 * @property {Entry} [entry]
 * @property {boolean} [renews] the answer may be used while a new one is made
 * @property {boolean} isShared one computation serves all that ask now
 * @property {string} key of that computation
 */

/** @param {string} name @param {number | string} value @returns {number} */
function milliseconds(name, value) {
  const parsed = typeof value === 'string' ? addon.parseDuration(value) : value;
  if (typeof parsed === 'number' && parsed >= 0) return parsed;
  throw new ClusterError(`http-cache: ${name}: found ${inspect(value)}, allowed: milliseconds, or a text such as '30s' or '5m'`, 'INVALID_ARGUMENT');
}

/** Requests without a client, and who follows their responses. @type {WeakMap<object, (exchange: Exchange) => Promise<void>>} */
const renewals = new WeakMap();

class HttpCache {
  #store;
  /** @type {Options} */
  #options;
  /** @type {Settings} */
  #settings;
  /** Keys of stored responses that this process renews now. @type {Set<string>} */
  #renewing = new Set();

  /** @param {any} source an app, its cache, or a namespace of it @param {Options} [options] */
  constructor(source, options = {}) {
    const { maxBodySize = 1 << 20, heuristic = 0 } = options;
    const keepForValidation = milliseconds('keepForValidation', options.keepForValidation ?? 3_600_000);
    this.#options = options;
    this.#settings = { maxBodySize, heuristic, keepForValidation, replay: (request, entry) => this.#replay(request, entry) };
    this.#store = new Store(cacheOf(source, 'http-cache'), milliseconds('wait', options.wait ?? 10_000));
  }

  /**
   * Resolves to an answer that the framework must send, or to null: the handlers make the response, which is followed.
   *
   * @param {Exchange} exchange
   * @returns {Promise<Answer | null>}
   */
  async begin(exchange) {
    const { request } = exchange;
    const renewal = renewals.get(request);
    try {
      if (renewal !== undefined) {
        await renewal(exchange);
        return null;
      }
      if (this.#options.skip?.(request)) return null;
      const asked = this.#asked(exchange);
      if (asked.uri.length > MAX_URI) return null;
      if (policy.isCacheable(asked.request)) return await this.#answer(exchange, asked);
      this.#followChange(exchange, asked);
      return null;
    } catch {
      // A cache that does not work must not keep a request from its response.
      return null;
    }
  }

  /** The header fields are copied: they are changed to validate. @param {Exchange} exchange @returns {Asked} */
  #asked({ request: { method, headers }, protocol, url }) {
    const host = String(headers[':authority'] ?? headers.host ?? '').toLowerCase();
    const own = { ...headers };
    if (this.#options.requestDirectives === false) {
      delete own['cache-control'];
      delete own.pragma;
    }
    return { uri: `${protocol}://${host}${url}`, request: { method, headers: own } };
  }

  /** @param {Exchange} exchange @param {Asked} asked @returns {Promise<Answer | null>} */
  async #answer(exchange, asked) {
    const isOnlyIfCached = policy.directivesOf(asked.request.headers).has('only-if-cached');
    for (let turns = 0; turns < MAX_TURNS; turns += 1) {
      const { answer, entry, renews, isShared, key } = this.#look(asked);
      if (answer !== undefined && (!renews || this.#renew(exchange, asked, /** @type {Entry} */ (entry)))) return answer;
      if (isOnlyIfCached) return { status: 504, headers: { 'content-length': '0' }, body: undefined };
      if (!isShared) break;
      if ((await this.#turn(exchange, asked, key)) || exchange.response.destroyed) return null;
    }
    const { answer, entry, renews } = this.#look(asked);
    if (answer !== undefined && !renews) return answer;
    await this.#make(exchange, asked, entry);
    return null;
  }

  /** @param {Asked} asked @returns {Found} */
  #look({ uri, request }) {
    const descriptor = this.#store.descriptor(uri);
    const isShareable = policy.isShareable(request);
    // By what its responses differ is known only when there is one.
    if (descriptor === undefined || descriptor.vary === null) return { isShared: isShareable && !descriptor?.passed, key: uri };
    const key = this.#store.key(uri, descriptor, request.headers, 'GET');
    const entry = this.#store.find(uri, descriptor, request.headers, request.method);
    if (entry === undefined) return { isShared: isShareable && !descriptor.passed, key };
    const { stored } = entry;
    const now = Date.now();
    const decision = policy.answerOf(request, stored, now);
    // What was never fresh is validated by each for itself.
    const isShared = isShareable && !stored.noCache && stored.lifetime > stored.age && policy.ageOf(stored, now) >= stored.lifetime;
    if (decision === 'validate') return { entry, isShared, key };
    return { answer: this.#replay(request, entry), entry, renews: decision === 'renew', isShared, key };
  }

  /** @param {import('./policy').Request} request @param {Entry} entry @returns {Answer} */
  #replay(request, { key, stored, body }) {
    const now = Date.now();
    const { status, headers, hasBody } = policy.replayOf(request, stored, now, body.length);
    // Of the response to a HEAD the length of the body is not known.
    if (key.startsWith('h ')) delete headers['content-length'];
    const ttl = Math.floor((stored.lifetime - policy.ageOf(stored, now)) / 1000);
    if (this.#options.cacheStatus) headers['cache-status'] = `drover; hit; ttl=${ttl}`;
    return { status, headers, body: hasBody ? body : undefined };
  }

  /**
   * Waits for the turn to make the response; true: the handlers are to make it now.
   *
   * @param {Exchange} exchange
   * @param {Asked} asked
   * @param {string} key
   * @returns {Promise<boolean>}
   */
  #turn(exchange, asked, key) {
    return new Promise((resolve) => {
      let isDecided = false;
      const decide = (/** @type {boolean} */ isOwn) => {
        isDecided = true;
        resolve(isOwn);
      };
      const task = async () => {
        const { answer, renews, isShared, entry } = this.#look(asked);
        // Somebody else has made it meanwhile, or this request waits no longer.
        if (isDecided || (answer !== undefined && !renews) || !isShared || exchange.response.destroyed) return;
        const made = await this.#make(exchange, asked, entry);
        decide(true);
        await made?.over;
      };
      this.#store.turn(key, task).then(
        () => decide(false),
        // The wait was too long, or the cache does not work: the request is served without it.
        () => decide(true),
      );
    });
  }

  /**
   * Follows the response that the handlers make next.
   *
   * @param {Exchange} exchange
   * @param {Asked} asked
   * @param {Entry | undefined} entry a stored response that is to be validated
   * @param {boolean} [isDetached] nobody reads the response
   */
  async #make(exchange, asked, entry, isDetached = false) {
    const descriptor = await this.#store.ensure(asked.uri);
    if (descriptor === undefined || exchange.response.headersSent) return undefined;
    return new Making(this.#store, this.#settings, exchange, asked, entry, descriptor.generation, isDetached);
  }

  /**
   * Makes a stale response anew while it is used; false: this request must do it.
   *
   * @param {Exchange} exchange
   * @param {Asked} asked
   * @param {Entry} entry
   */
  #renew(exchange, asked, { key }) {
    if (this.#renewing.has(key)) return true;
    const { rerun } = exchange;
    const end = () => void this.#renewing.delete(key);
    this.#renewing.add(key);
    if (rerun === undefined) {
      exchange.response.once('close', end);
      return false;
    }
    const { request, response } = again(exchange.request, exchange.url);
    const asks = { uri: asked.uri, request: { method: 'GET', headers: { ...request.headers } } };
    const task = async () => {
      const found = this.#look(asks);
      if (found.answer !== undefined && !found.renews) return;
      await new Promise((/** @type {(value?: any) => void} */ resolve) => {
        const timer = setTimeout(resolve, RENEWAL_TIMEOUT).unref();
        renewals.set(request, async (made) => {
          renewals.delete(request);
          const making = await this.#make(made, asks, found.entry, true);
          (making?.over ?? Promise.resolve()).then(() => {
            clearTimeout(timer);
            resolve();
          });
        });
        rerun(request, response);
      });
    };
    this.#store.turn(key, task).then(end, end);
    return true;
  }

  /** Removes what a successful change makes wrong. @param {Exchange} exchange @param {Asked} asked */
  #followChange({ request, response, before }, { uri }) {
    if (policy.isSafe(request.method)) return;
    const head = (/** @type {number} */ status, /** @type {any} */ fields) => {
      for (const one of policy.invalidated(request.method, status, fields, uri)) this.#store.invalidate(one).catch(() => {});
      return /** @type {'ignore'} */ ('ignore');
    };
    new Recorder(response, { head, over() {} }, { isHead: false, before, limit: 0 });
  }
}

module.exports = { HttpCache };
