// @ts-check
'use strict';

// What an RFC 9111 shared cache decides: which responses it stores, for how long they are fresh, and what answers a
// request. Pure: header fields and times in, decisions out. Times are milliseconds since 1970, durations milliseconds.

const { cacheControl, dateOf, matches, names, seconds, secondsOf, tags, textOf } = require('./fields');

/** @typedef {import('./fields').Fields} Fields */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {Fields} headers
 */

/**
 * @typedef {object} Stored a response as it is stored, without its body
 * @property {number} status
 * @property {[name: string, value: string | string[]][]} headers those that are sent again
 * @property {number} received when its headers came
 * @property {number} age when its headers came
 * @property {number} lifetime how old it may be to be fresh
 * @property {number} whileRevalidate how long after that it is used while a new one is made (RFC 5861)
 * @property {number} ifError how long after that it is used if making a new one fails
 * @property {boolean} noCache it is used only after it was validated
 * @property {boolean} strict it is never used stale
 * @property {string} [etag]
 * @property {string} [modified] its Last-Modified
 */

/** Statuses that may be stored without being marked so (RFC 9110, 15.1), without 206: there are no parts here. */
const UNMARKED = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** Final statuses that this cache does not store, whatever is said of them. */
const NEVER = new Set([206, 304, 416]);
/** What stale-if-error stands for (RFC 5861, 4). */
const FAILURES = new Set([500, 502, 503, 504]);
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** They belong to one connection, or to what a proxy in between does (RFC 9111, 3.1). */
const NOT_STORED = new Set([
  'age',
  'connection',
  'content-length',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** A 304 does not change these: they describe the stored body. */
const OF_BODY = new Set(['content-encoding', 'content-type', 'content-range', 'content-length', 'etag']);

/** A response without an explicit lifetime that is this old is said to be used at most so long. */
const MAX_HEURISTIC = 24 * 3600_000;

/**
 * The directives of a request. `Pragma: no-cache` counts if there is no Cache-Control (RFC 9111, 5.4).
 *
 * @param {Fields} headers
 */
function directivesOf(headers) {
  const control = textOf(headers, 'cache-control');
  if (control === undefined && names(textOf(headers, 'pragma')).includes('no-cache')) return cacheControl('no-cache');
  return cacheControl(control);
}

/** Whether the cache has anything to do with a request. @param {Request} request */
function isCacheable({ method, headers }) {
  return (method === 'GET' || method === 'HEAD') && headers.range === undefined && headers.upgrade === undefined;
}

/** Whether the response to one request may be waited for by others, as far as the request says. @param {Request} request */
function isShareable({ method, headers }) {
  const isConditional = headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
  if (method !== 'GET' || headers.authorization !== undefined || isConditional) return false;
  const asked = directivesOf(headers);
  return !['no-store', 'no-cache', 'max-age', 'min-fresh'].some((name) => asked.has(name));
}

/**
 * How long a response is fresh; undefined: nothing says so.
 *
 * @param {number} status
 * @param {Fields} headers
 * @param {number} received
 * @param {number} heuristic the part of its age since Last-Modified
 */
function lifetimeOf(status, headers, received, heuristic) {
  const control = cacheControl(textOf(headers, 'cache-control'));
  for (const name of ['s-maxage', 'max-age']) {
    if (control.has(name)) return seconds(control.get(name)) * 1000;
  }
  const date = dateOf(textOf(headers, 'date')) ?? received;
  if (headers.expires !== undefined) return Math.max(0, (dateOf(textOf(headers, 'expires')) ?? 0) - date);
  const modified = dateOf(textOf(headers, 'last-modified'));
  if (heuristic === 0 || modified === undefined || !(UNMARKED.has(status) || control.has('public'))) return undefined;
  return Math.min(MAX_HEURISTIC, Math.max(0, (date - modified) * heuristic));
}

/**
 * Whether a shared cache may store the response (RFC 9111, 3).
 *
 * @param {Request} request
 * @param {number} status
 * @param {Fields} headers of the response
 * @param {number} received
 * @param {number} heuristic
 */
function mayStore({ method, headers: asked }, status, headers, received, heuristic) {
  if (method !== 'GET' && method !== 'HEAD') return false;
  if (status < 200 || NEVER.has(status)) return false;
  if (directivesOf(asked).has('no-store')) return false;
  const control = cacheControl(textOf(headers, 'cache-control'));
  // Private and no-cache with names of fields are read as without them.
  if (control.has('private')) return false;
  const isUnderstood = UNMARKED.has(status) || status === 302 || status === 303 || status === 307;
  // For who understands the status, must-understand stands above no-store.
  if (control.has('must-understand') ? !isUnderstood : control.has('no-store')) return false;
  if (names(textOf(headers, 'vary')).includes('*')) return false;
  const isForAll = control.has('public') || control.has('s-maxage') || control.has('must-revalidate');
  if (asked.authorization !== undefined && !isForAll) return false;
  // A cookie for one client must not reach others, unless its server says that it may.
  if (headers['set-cookie'] !== undefined && !control.has('public')) return false;
  const lifetime = lifetimeOf(status, headers, received, heuristic);
  const isMarked = lifetime !== undefined || control.has('public') || control.has('no-cache');
  if (!isMarked) return false;
  const hasValidator = headers.etag !== undefined || headers['last-modified'] !== undefined;
  const isOfUse = (lifetime ?? 0) > 0 && !control.has('no-cache');
  return isOfUse || hasValidator || control.has('stale-while-revalidate') || control.has('stale-if-error');
}

/**
 * What is stored of a response.
 *
 * @param {number} status
 * @param {Fields} headers
 * @param {{ asked: number, received: number }} times when the request began and the headers came
 * @param {number} heuristic
 * @param {(name: string) => boolean} isOwn whether a field belongs to the response, not to what is before the cache
 * @returns {Stored}
 */
function storedOf(status, headers, { asked, received }, heuristic, isOwn = () => true) {
  const control = cacheControl(textOf(headers, 'cache-control'));
  const connection = new Set(names(textOf(headers, 'connection')));
  const date = dateOf(textOf(headers, 'date'));
  // RFC 9111, 4.2.3
  const apparent = Math.max(0, received - (date ?? received));
  const corrected = secondsOf(textOf(headers, 'age')) * 1000 + (received - asked);
  /** @type {[string, string | string[]][]} */
  const kept = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || NOT_STORED.has(name) || connection.has(name) || !isOwn(name)) continue;
    kept.push([name, Array.isArray(value) ? value : String(value)]);
  }
  if (headers.date === undefined) kept.push(['date', new Date(received).toUTCString()]);
  const strict = control.has('must-revalidate') || control.has('proxy-revalidate') || control.has('s-maxage');
  return {
    status,
    headers: kept,
    received,
    age: Math.max(apparent, corrected),
    lifetime: lifetimeOf(status, headers, received, heuristic) ?? 0,
    whileRevalidate: seconds(control.get('stale-while-revalidate')) * 1000,
    ifError: seconds(control.get('stale-if-error')) * 1000,
    noCache: control.has('no-cache'),
    strict,
    etag: textOf(headers, 'etag'),
    modified: textOf(headers, 'last-modified'),
  };
}

/** How old a stored response is. @param {Stored} stored @param {number} now */
function ageOf({ age, received }, now) {
  return age + Math.max(0, now - received);
}

/** How long after its headers came a stored response is of any use. @param {Stored} stored @param {number} forValidation */
function usefulFor({ age, lifetime, whileRevalidate, ifError, strict, etag, modified }, forValidation) {
  const stale = strict ? 0 : Math.max(whileRevalidate, ifError);
  const validated = etag !== undefined || modified !== undefined ? forValidation : 0;
  return Math.max(0, lifetime - age) + Math.max(stale, validated);
}

/**
 * What answers a request for which there is a stored response: `use` it, use it and make a new one meanwhile (`renew`), or
 * make a new one, or validate this, first (`validate`).
 *
 * @param {Request} request
 * @param {Stored} stored
 * @param {number} now
 * @returns {'use' | 'renew' | 'validate'}
 */
function answerOf({ headers }, stored, now) {
  const asked = directivesOf(headers);
  if (stored.noCache || asked.has('no-cache')) return 'validate';
  const age = ageOf(stored, now);
  if (asked.has('max-age') && age >= seconds(asked.get('max-age')) * 1000 && !asked.has('max-stale')) return 'validate';
  const left = stored.lifetime - age;
  if (asked.has('min-fresh') && left < seconds(asked.get('min-fresh')) * 1000) return 'validate';
  if (left > 0) return 'use';
  if (stored.strict) return 'validate';
  const maxStale = asked.get('max-stale');
  if (maxStale !== undefined && (maxStale === true || -left <= seconds(maxStale) * 1000)) return 'use';
  return -left < stored.whileRevalidate ? 'renew' : 'validate';
}

/**
 * Whether a failure may be hidden by the stored response (RFC 5861, 4).
 *
 * @param {Request} request
 * @param {Stored} stored
 * @param {number} status
 * @param {number} now
 */
function hidesFailure({ headers }, stored, status, now) {
  if (!FAILURES.has(status) || stored.strict || stored.noCache) return false;
  const asked = directivesOf(headers);
  if (asked.has('no-cache')) return false;
  const allowed = Math.max(stored.ifError, seconds(asked.get('stale-if-error')) * 1000);
  return ageOf(stored, now) - stored.lifetime < allowed;
}

/** The fields that ask whether the stored response is still right. @param {Stored} stored @returns {Record<string, string>} */
function conditionsOf({ etag, modified }) {
  return {
    ...(etag !== undefined && { 'if-none-match': etag }),
    ...(modified !== undefined && { 'if-modified-since': modified }),
  };
}

/** Whether a 304 answers for the stored response (RFC 9111, 4.3.3). @param {Stored} stored @param {Fields} headers of the 304 */
function isValidated({ etag, modified }, headers) {
  const given = textOf(headers, 'etag');
  if (given !== undefined) return etag !== undefined && matches(given, etag);
  const date = textOf(headers, 'last-modified');
  return date === undefined || modified === undefined || date === modified;
}

/**
 * The stored response with what a 304 says of it (RFC 9111, 3.2).
 *
 * @param {Stored} stored
 * @param {Fields} headers of the 304
 * @param {{ asked: number, received: number }} times
 * @param {number} heuristic
 * @param {(name: string) => boolean} [isOwn]
 * @returns {Stored}
 */
function freshened(stored, headers, times, heuristic, isOwn) {
  /** @type {Fields} */
  const all = Object.fromEntries(stored.headers);
  delete all.date;
  for (const [name, value] of Object.entries(headers)) {
    if (!OF_BODY.has(name) && value !== undefined) all[name] = value;
  }
  return storedOf(stored.status, all, times, heuristic, (name) => isOwn === undefined || all[name] !== headers[name] || isOwn(name));
}

/** Whether the client has this response already (RFC 9110, 13.2.2). @param {Request} request @param {Stored} stored */
function isKnown({ headers }, { status, etag, modified, headers: kept, received }) {
  if (status !== 200) return false;
  const noneMatch = textOf(headers, 'if-none-match');
  if (noneMatch !== undefined) return tags(noneMatch).some((tag) => tag === '*' || (etag !== undefined && matches(tag, etag)));
  const since = dateOf(textOf(headers, 'if-modified-since'));
  if (since === undefined) return false;
  // Without Last-Modified the date counts (RFC 9111, 4.3.2).
  const date = dateOf(modified) ?? dateOf(textOf(Object.fromEntries(kept), 'date')) ?? received;
  return date <= since;
}

/** Fields of a 200 that a 304 has too (RFC 9110, 15.4.5), and those that tell of the cache. */
const OF_NOT_MODIFIED = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'last-modified', 'vary']);

/**
 * The status and the fields that a stored response is sent with.
 *
 * @param {Request} request
 * @param {Stored} stored
 * @param {number} now
 * @param {number} length of the body
 * @returns {{ status: number, headers: Record<string, string | string[]>, hasBody: boolean }}
 */
function replayOf(request, stored, now, length) {
  const age = String(Math.floor(ageOf(stored, now) / 1000));
  if (isKnown(request, stored)) {
    const headers = Object.fromEntries(stored.headers.filter(([name]) => OF_NOT_MODIFIED.has(name)));
    return { status: 304, headers: { ...headers, age }, hasBody: false };
  }
  const headers = Object.fromEntries(stored.headers);
  const isBodiless = stored.status === 204;
  return { status: stored.status, headers: { ...headers, age, ...(!isBodiless && { 'content-length': String(length) }) }, hasBody: request.method !== 'HEAD' && !isBodiless };
}

/** Whether a method asks for no change. @param {string} method */
function isSafe(method) {
  return SAFE.has(method);
}

/**
 * The URIs whose stored responses a successful change makes wrong (RFC 9111, 4.4).
 *
 * @param {string} method
 * @param {number} status
 * @param {Fields} headers of the response
 * @param {string} target the URI of the request, absolute
 */
function invalidated(method, status, headers, target) {
  if (isSafe(method) || status < 200 || status >= 400) return [];
  const origin = originOf(target);
  const others = ['location', 'content-location'].map((name) => absolute(textOf(headers, name), target));
  return [...new Set([target, ...others.filter((uri) => uri !== undefined && originOf(uri) === origin)])];
}

/** @param {string | undefined} uri @param {string} base @returns {any} */
function absolute(uri, base) {
  if (uri === undefined || !URL.canParse(uri, base)) return undefined;
  const url = new URL(uri, base);
  url.hash = '';
  return url.href;
}

/** @param {string} uri */
function originOf(uri) {
  return URL.canParse(uri) ? new URL(uri).origin : undefined;
}

/**
 * What tells the variants of a response apart: the request's fields that its Vary names, their values without what does
 * not change their meaning.
 *
 * @param {string[]} vary
 * @param {Fields} headers of the request
 */
function variantOf(vary, headers) {
  return vary.map((name) => `${name}:${textOf(headers, name)?.replace(/\s*,\s*/g, ',').trim() ?? ''}`).join('\n');
}

module.exports = { ageOf, answerOf, conditionsOf, directivesOf, freshened, hidesFailure, invalidated, isCacheable, isSafe, isShareable, isValidated, mayStore, replayOf, storedOf, usefulFor, variantOf };
