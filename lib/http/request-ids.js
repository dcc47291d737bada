// @ts-check
'use strict';

// Which request runs now: an id for every request, reachable wherever its work goes on, and put on the lines that are
// written during it. Asynchronous context costs every promise of the program something on Node.js before 24, so that
// nothing of this exists until it is asked for: by `logging.requestIds`, or by the first call of `requestId()`.

const { AsyncLocalStorage } = require('node:async_hooks');
const { randomBytes } = require('node:crypto');
const net = require('node:net');
const { constants } = require('../native');
const { INNER, changeWrites, joined } = require('../process/log-records');
const { eachStream } = require('../process/standard-streams');
const { requestId: requestIdSymbol } = require('../symbols').message;

/** Between these two the primary finds the id at the beginning of a line. */
const { idBegins, idEnds } = constants?.logMarks ?? { idBegins: '', idEnds: '' };

const SANE = /^[\w.:+/=@-]{1,128}$/;
const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}/;
const NO_TRACE = '0'.repeat(32);


/** Holds the request, whose id is found when somebody asks. @type {AsyncLocalStorage<any> | null} */
let running = null;
let mayMark = false;

/** Tells this process's ids from those of others. */
const own = randomBytes(8).toString('hex');
let made = 0;

/** @param {any} request @returns {string} */
function identify(request) {
  request[requestIdSymbol] ??= given(request.headers) ?? make();
  return request[requestIdSymbol];
}

/** What the client, or a proxy before it, calls the request. @param {any} headers */
function given(headers) {
  const id = headers?.['x-request-id'];
  if (typeof id === 'string' && SANE.test(id)) return id;
  const trace = headers?.traceparent;
  const [, traceId] = (typeof trace === 'string' && TRACEPARENT.exec(trace)) || [];
  return traceId === NO_TRACE ? undefined : traceId;
}

function make() {
  made += 1;
  return `${own}-${made.toString(36)}`;
}

/** The id of the request during which this is called, or undefined. */
function requestId() {
  if (running === null) identifyRequests();
  const request = running?.getStore();
  return request === undefined ? undefined : identify(request);
}

/** From now on every request of this process has an id. */
function identifyRequests() {
  if (running !== null) return;
  const storage = new AsyncLocalStorage();
  running = storage;
  if (mayMark) eachStream(mark);
  const { emit } = net.Server.prototype;
  const pass = (/** @type {any} */ server, /** @type {any} */ args) => Reflect.apply(emit, server, args);
  // Every server of Node's own is one: http, https, http2.
  net.Server.prototype.emit = function (/** @type {any[]} */ ...args) {
    const [name, request] = args;
    // What a server of the program's own calls a request may be anything.
    if (name !== 'request' || typeof request?.headers !== 'object') return Reflect.apply(emit, this, args);
    return storage.run(request, pass, this, args);
  };
}

/** This process's lines may name the request they belong to: they are part of the log. */
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
    // A record that has several lines names its request once.
    return (begins ? head : '') + joined(text, isBytes).replace(INNER, `\n${head}`);
  });
}

/** What a request is called by its client or was by this process, if it is. @param {any} request @returns {string | null} */
function knownId(request) {
  return request?.[requestIdSymbol] ?? given(request?.headers) ?? null;
}

module.exports = { identifyRequests, knownId, markLines, requestId };
