// @ts-check
'use strict';

// Adaptive admission in a worker: a request that has waited longer than `targetDelay` in a saturated event loop is
// answered by drover, before the program's handler. The core measures and decides (src/worker/admission.rs); without
// `loadBalancing.admission` nothing of this runs.

const http = require('node:http');
const https = require('node:https');
const { finished } = require('node:stream');
const { ARRIVED_AFTER, CLOCK, REFUSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');
const symbols = require('../symbols');

const { isRefused, isOffered } = symbols.message;
const { uncounted } = symbols.stream;
const { isProbeServer } = symbols.server;

/** The arguments of these events of a server are a request and its response. */
const REQUEST_EVENTS = new Set(['request', 'checkContinue', 'checkExpectation']);
/** Those of these a request, its socket and the first bytes after it: there is no response. */
const UPGRADE_EVENTS = new Set(['upgrade', 'connect']);

/** How long a connection whose end was announced stays open for what its client still sends. Milliseconds. */
const LINGER = 2000;

/** The core's verdicts. The connection of a request that is moved ends, so that its client connects to another worker. */
const [ADMITTED, MOVED] = [0, 2];

/** @typedef {{ target_delay: number, exempt: string[], status: number, headers: [string, string][], body: string }} Settings */

class Admission {
  /** None: off. @type {Settings | null} */
  #settings = null;
  /** @type {Set<string>} */
  #exempt = new Set();
  #isFollowing = false;

  /** @param {Float64Array} cells @param {() => boolean} isPaused while it is true nothing is refused */
  constructor(cells, isPaused) {
    this.cells = cells;
    this.isPaused = isPaused;
  }

  /** Other settings apply from now on; null: nothing is refused. @param {Settings | null} settings */
  configure(settings) {
    if (settings !== null && !this.#isFollowing) this.#follow();
    const { error } = addon.workerSetAdmission(settings?.target_delay ?? 0, performance.now());
    if (error) throw new Error(error.message);
    this.#exempt = new Set(settings?.exempt);
    this.#settings = settings;
  }

  get isOn() {
    return this.#settings !== null;
  }

  /**
   * Marks the response if its request comes too late for its handler. Returns whether it is marked.
   *
   * @param {any} response @param {any} socket
   */
  consider(response, socket) {
    // A pipelined request comes before its response gets the connection.
    if (response[isRefused] || response[isOffered] || !this.isOn) return response[isRefused] === true;
    const verdict = this.#verdict(response.req?.url, socket);
    if (verdict === ADMITTED) return false;
    response[isRefused] = true;
    if (verdict === MOVED) response.shouldKeepAlive = false;
    if (expectsContinue(response.req)) {
      // The client may not send the body now: then only the end of the connection ends the request.
      response.writeContinue = () => {};
      response.shouldKeepAlive = false;
    }
    return true;
  }

  /** @param {unknown} url @param {any} socket */
  #verdict(url, socket) {
    const at = (this.cells[CLOCK] = performance.now());
    if (at - this.cells[ARRIVED_AFTER] <= /** @type {Settings} */ (this.#settings).target_delay) return ADMITTED;
    if (this.isPaused() || this.#exempt.has(pathOf(url))) return ADMITTED;
    return addon.workerVerdict(runtime.descriptorOf(socket));
  }

  /** From now on refused requests do not reach the program. */
  #follow() {
    this.#isFollowing = true;
    const admission = this;
    // A library that traces requests may have replaced it in a subclass.
    const ownEmits = [http.Server, https.Server].filter(({ prototype }) => Object.hasOwn(prototype, 'emit'));
    for (const { prototype } of new Set([...runtime.serverClasses, ...ownEmits])) {
      const { emit } = prototype;
      prototype.emit = function (/** @type {any[]} */ ...args) {
        return admission.#takes(this, args) || Reflect.apply(emit, this, args);
      };
    }
  }

  /** Answers a refused request. @param {any} server @param {any[]} event @returns {boolean} whether it was one */
  #takes(server, [name, first, second]) {
    if (this.#settings === null) return false;
    if (name === 'stream') return !server[isProbeServer] && this.#takesStream(first, second);
    if (UPGRADE_EVENTS.has(name)) return this.#takesUpgrade(first, second);
    if (!REQUEST_EVENTS.has(name) || typeof second !== 'object' || second === null) return false;
    if (isPipelined(first, second) && this.#refusesPipelined(first)) second[isRefused] = true;
    if (second[isRefused] === true) return this.#answer(first, second);
    second[isOffered] = true;
    return false;
  }

  /**
   * Whether a request is refused although its connection still carries an earlier response; Node sends the responses in
   * order. The connection stays: the program may have got further requests of it.
   *
   * @param {any} request
   */
  #refusesPipelined(request) {
    const current = runtime.responseOf(request.socket);
    // No request is handled after the response that ends the connection (RFC 9112, 9.6), and its client knows that.
    if (current[isRefused] && runtime.isLast(current)) return true;
    return !expectsContinue(request) && this.#verdict(request.url, request.socket) !== ADMITTED;
  }

  /** @param {any} request @param {any} response */
  #answer(request, response) {
    const { status, headers, body } = /** @type {Settings} */ (this.#settings);
    this.cells[REFUSED] += 1;
    for (const [name, value] of headers) response.setHeader(name, value);
    // HTTP/1.0 has no other way to say where the body ends.
    response.setHeader('Content-Length', Buffer.byteLength(body));
    response.statusCode = status;
    response.statusMessage = http.STATUS_CODES[status] ?? '';
    if (response.shouldKeepAlive || !hasBody(request)) {
      response.end(body);
      return true;
    }
    response.write(body);
    // Closing the connection with unread bytes resets it, and the client could lose the response.
    const timer = setTimeout(() => response.end(), LINGER);
    finished(request.resume(), () => {
      clearTimeout(timer);
      response.end();
    });
    return true;
  }

  /** @param {any} request @param {any} socket */
  #takesUpgrade(request, socket) {
    // Streams of HTTP/2 have such events too.
    if (request?.socket !== socket || socket[isOffered]) return false;
    if (this.#verdict(request.url, socket) === ADMITTED) {
      // The program may give it to another server.
      socket[isOffered] = true;
      return false;
    }
    this.cells[REFUSED] += 1;
    const { status, headers, body } = /** @type {Settings} */ (this.#settings);
    const lines = [...headers, ['Content-Length', Buffer.byteLength(body)], ['Connection', 'close']];
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.on('error', () => {});
    afterResponses(socket, () => {
      socket.setTimeout(LINGER, () => socket.destroy());
      socket.resume().end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}\r\n${head}\r\n${body}`);
    });
    return true;
  }

  /** @param {any} stream of HTTP/2 @param {any} request its headers */
  #takesStream(stream, request) {
    const socket = stream?.session?.socket;
    if (!socket || typeof stream.respond !== 'function' || stream[uncounted] || stream.headersSent) return false;
    if (this.#verdict(request?.[':path'], socket) === ADMITTED) return false;
    const { status, headers, body } = /** @type {Settings} */ (this.#settings);
    this.cells[REFUSED] += 1;
    const fields = headers.map(([name, value]) => [name.toLowerCase(), value]);
    stream.on('error', () => {});
    stream.respond({ ':status': status, ...Object.fromEntries(fields) });
    stream.end(request[':method'] === 'HEAD' ? undefined : body);
    return true;
  }
}

/** Whether its connection carries the response to an earlier request. @param {any} request @param {any} response */
function isPipelined(request, response) {
  const current = request?.socket && runtime.responseOf(request.socket);
  return current && current !== response && response[isOffered] !== true;
}

/** @param {any} request */
function expectsContinue(request) {
  return request?.headers?.expect !== undefined;
}

/** @param {any} request */
function hasBody({ headers }) {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Acts once the connection's responses to earlier requests have been sent. @param {any} socket @param {() => void} act */
function afterResponses(socket, act) {
  const current = runtime.responseOf(socket);
  if (current) current.once('finish', () => afterResponses(socket, act));
  else act();
}

/** @param {unknown} url */
function pathOf(url) {
  if (typeof url !== 'string') return '';
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

exports.Admission = Admission;
