// @ts-check
'use strict';

// Adaptive admission in a worker: a request that has waited longer than `targetDelay` in a saturated event loop is
// answered by drover, before the program's handler. The core measures and decides (src/worker/admission.rs); without
// `loadBalancing.admission` nothing of this runs.

const { STATUS_CODES } = require('node:http');
const { ARRIVED_AFTER, REFUSED } = require('../metrics/cells');
const { addon } = require('../native');
const runtime = require('../runtime');
const { message, stream: streamSymbols } = require('../symbols');

const { isRefused, isOffered } = message;

/** The arguments of these events of a server are a request and its response. */
const REQUEST_EVENTS = new Set(['request', 'checkContinue', 'checkExpectation']);

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
   * Marks the response if its request comes too late for its handler.
   *
   * @param {any} response @param {any} socket @param {number} at now, milliseconds
   */
  consider(response, socket, at) {
    // A pipelined request was handed to the program before its response gets the connection.
    const verdict = response[isOffered] ? ADMITTED : this.#verdict(response.req?.url, socket, at);
    if (verdict === ADMITTED) return false;
    response[isRefused] = true;
    if (verdict === MOVED) response.shouldKeepAlive = false;
    return true;
  }

  /** @param {unknown} url @param {any} socket @param {number} at */
  #verdict(url, socket, at) {
    if (at - this.cells[ARRIVED_AFTER] <= /** @type {Settings} */ (this.#settings).target_delay) return ADMITTED;
    if (this.isPaused() || this.#exempt.has(pathOf(url))) return ADMITTED;
    return addon.workerVerdict(runtime.descriptorOf(socket));
  }

  /** From now on refused requests do not reach the program. */
  #follow() {
    this.#isFollowing = true;
    const admission = this;
    for (const { prototype } of runtime.serverClasses) {
      const { emit } = prototype;
      prototype.emit = function (/** @type {any[]} */ ...args) {
        return admission.#takes(args) || Reflect.apply(emit, this, args);
      };
    }
  }

  /** Answers a refused request. @param {any[]} event @returns {boolean} whether it was one */
  #takes([name, first, second]) {
    if (this.#settings === null) return false;
    if (REQUEST_EVENTS.has(name) && typeof second === 'object' && second !== null) {
      if (second[isRefused] === true) return this.#answer(second);
      second[isOffered] = true;
      return false;
    }
    return name === 'stream' && this.#takesStream(first, second);
  }

  /** @param {any} response */
  #answer(response) {
    const { status, headers, body } = /** @type {Settings} */ (this.#settings);
    this.cells[REFUSED] += 1;
    for (const [name, value] of headers) response.setHeader(name, value);
    response.statusCode = status;
    response.statusMessage = STATUS_CODES[status] ?? '';
    response.end(body);
    return true;
  }

  /** @param {any} stream of HTTP/2 @param {any} request its headers */
  #takesStream(stream, request) {
    const socket = stream?.session?.socket;
    if (!socket || typeof stream.respond !== 'function' || stream[streamSymbols.uncounted] || stream.headersSent) return false;
    if (this.#verdict(request?.[':path'], socket, performance.now()) === ADMITTED) return false;
    const { status, headers, body } = /** @type {Settings} */ (this.#settings);
    this.cells[REFUSED] += 1;
    const fields = headers.map(([name, value]) => [name.toLowerCase(), value]);
    stream.on('error', () => {});
    stream.respond({ ':status': status, ...Object.fromEntries(fields) });
    stream.end(request[':method'] === 'HEAD' ? undefined : body);
    return true;
  }
}

/** @param {unknown} url */
function pathOf(url) {
  if (typeof url !== 'string') return '';
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

exports.Admission = Admission;
