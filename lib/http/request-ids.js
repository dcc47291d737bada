// @ts-check
'use strict';

// An id for every request, available in all asynchronous work of the request and added to the lines that are written
// during it. Asynchronous context makes every promise of the program slower on Node.js before 24, so it is off until it
// is enabled by `logging.requestIds` or by the first call of `requestId()`.

const { AsyncLocalStorage } = require('node:async_hooks');
const { randomBytes } = require('node:crypto');
const { constants } = require('../native');
const runtime = require('../runtime');
const { INNER, changeWrites, joined } = require('../process/log-records');
const { eachStream } = require('../process/standard-streams');
const { requestId: requestIdSymbol } = require('../symbols').message;

/** Markers around the id at the beginning of a line, for the primary. */
const { idBegins, idEnds } = constants?.logMarks ?? { idBegins: '', idEnds: '' };

const SANE = /^[\w.:+/=@-]{1,128}$/;
const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}/;
const NO_TRACE = '0'.repeat(32);


/** Holds the request; its id is determined on demand. @type {AsyncLocalStorage<any> | null} */
let running = null;
let mayMark = false;

/** Prefix that makes ids unique across processes. */
const own = randomBytes(8).toString('hex');
let made = 0;

/** @param {any} request @returns {string} */
function identify(request) {
  request[requestIdSymbol] ??= given(request.headers) ?? make();
  return request[requestIdSymbol];
}

/** The id that the client or a proxy has given the request. @param {any} headers an object, or Headers */
function given(headers) {
  const read = (/** @type {string} */ name) => (typeof headers?.get === 'function' ? headers.get(name) : headers?.[name]);
  const id = read('x-request-id');
  if (typeof id === 'string' && SANE.test(id)) return id;
  const trace = read('traceparent');
  const [, traceId] = (typeof trace === 'string' && TRACEPARENT.exec(trace)) || [];
  return traceId === NO_TRACE ? undefined : traceId;
}

function make() {
  made += 1;
  return `${own}-${made.toString(36)}`;
}

/** The id of the current request, or undefined. */
function requestId() {
  if (running === null) identifyRequests();
  const request = running?.getStore();
  return request === undefined ? undefined : identify(request);
}

/** Enables ids for every request of this process. */
function identifyRequests() {
  if (running !== null) return;
  const storage = new AsyncLocalStorage();
  running = storage;
  if (mayMark) eachStream(mark);
  for (const { prototype } of runtime.serverClasses) {
    const { emit } = prototype;
    const pass = (/** @type {any} */ server, /** @type {any} */ args) => Reflect.apply(emit, server, args);
    prototype.emit = function (/** @type {any[]} */ ...args) {
      const [name, request] = args;
      // The arguments of a program's own 'request' event may be anything.
      if (name !== 'request' || typeof request?.headers !== 'object') return Reflect.apply(emit, this, args);
      return storage.run(request, pass, this, args);
    };
  }
  if (runtime.acceptsItself) runtime.runFetches((request, handle) => storage.run(request, handle));
}

/** Adds request ids to the output of this process, which is part of the log. */
function markLines() {
  mayMark = true;
  if (running !== null) eachStream(mark);
}

/** @param {any} stream */
function mark(stream) {
  let isAtStart = true;
  changeWrites(stream, (text, isBytes) => {
    const begins = isAtStart;
    isAtStart = text.endsWith('\n');
    const request = running?.getStore();
    if (request === undefined) return text;
    const head = `${idBegins}${identify(request)}${idEnds}`;
    // A record of several lines has the id once.
    return (begins ? head : '') + joined(text, isBytes).replace(INNER, `\n${head}`);
  });
}

/**
 * The id of a request if it has one, from its client or from this process.
 *
 * @param {any} request
 * @returns {string | null}
 */
function knownId(request) {
  return request?.[requestIdSymbol] ?? given(request?.headers) ?? null;
}

module.exports = { identifyRequests, knownId, markLines, requestId };
