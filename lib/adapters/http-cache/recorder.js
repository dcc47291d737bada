// @ts-check
'use strict';

// Follows a response while a program writes it: tells its status and header fields before they are sent, and its body
// when it is whole. What is not stored passes unchanged, and nothing is kept of it.

const { STATUS_CODES } = require('node:http');

/**
 * @typedef {{ status: number, headers: Record<string, string | string[]>, body: Buffer | undefined }} Answer
 */

/**
 * @typedef {object} Follower
 * @property {(status: number, headers: any) => 'record' | 'ignore' | Answer} head the fields are complete; an answer is
 * sent instead of the program's response
 * @property {(body: Buffer | null) => void} over the response is whole, or null: it will not be; called once
 */

/** Responses that have no body. @param {number} status */
function isBodiless(status) {
  return status === 204 || status === 304;
}

class Recorder {
  /** @type {'waiting' | 'recording' | 'ignoring' | 'replaced'} */
  #state = 'waiting';
  /** @type {Buffer[]} */
  #chunks = [];
  #size = 0;
  #isOver = false;
  #response;
  #natives;
  #follower;
  #limit;
  #before;
  #isHead;
  #isDetached;

  /**
   * @param {any} response
   * @param {Follower} follower
   * @param {object} how
   * @param {boolean} how.isHead the request is a HEAD
   * @param {any} how.before the response's fields so far
   * @param {number} how.limit bytes of the body
   * @param {boolean} [how.isDetached] nobody reads the response
   */
  constructor(response, follower, { isHead, before, limit, isDetached = false }) {
    this.#response = response;
    this.#follower = follower;
    this.#limit = limit;
    this.#before = before;
    this.#isHead = isHead;
    this.#isDetached = isDetached;
    const { writeHead, write, end, flushHeaders } = response;
    this.#natives = { writeHead, write, end, flushHeaders };
    response.writeHead = (/** @type {any[]} */ ...args) => this.#writeHead(args);
    response.write = (/** @type {any[]} */ ...args) => this.#write(args);
    response.end = (/** @type {any[]} */ ...args) => this.#end(args);
    if (typeof flushHeaders === 'function') {
      response.flushHeaders = () => {
        this.#begin();
        if (this.#state !== 'replaced' && !this.#isDetached) flushHeaders.call(response);
      };
    }
    response.once('close', () => this.#finish(null));
  }

  /** @param {Buffer | null} body */
  #finish(body) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#chunks = [];
    this.#follower.over(body);
  }

  /** What comes before the first byte. By the response's own method, for who has replaced it since. */
  #begin() {
    if (this.#state !== 'waiting') return;
    if (this.#response.headersSent) this.#ignore();
    else this.#response.writeHead(this.#response.statusCode);
  }

  #ignore() {
    this.#state = 'ignoring';
    this.#finish(null);
  }

  /** @param {any[]} args */
  #writeHead(args) {
    const response = this.#response;
    if (this.#state !== 'waiting') {
      return this.#state === 'replaced' || this.#isDetached ? response : this.#natives.writeHead.apply(response, args);
    }
    const [status, message, fields] = typeof args[1] === 'string' ? args : [args[0], undefined, args[1]];
    assign(response, fields);
    response.statusCode = status;
    const decision = this.#follower.head(status, response.getHeaders());
    if (typeof decision === 'object') {
      this.#replace(decision);
      return response;
    }
    if (decision === 'record') this.#state = 'recording';
    else this.#ignore();
    if (this.#isDetached) return response;
    return this.#natives.writeHead.apply(response, message === undefined ? [status] : [status, message]);
  }

  /** @param {Answer} answer */
  #replace({ status, headers, body }) {
    this.#state = 'replaced';
    this.#finish(null);
    const response = this.#response;
    if (this.#isDetached) return;
    for (const name of response.getHeaderNames()) {
      if (!(name in this.#before)) response.removeHeader(name);
    }
    assign(response, headers);
    const message = response.req?.httpVersionMajor === 2 ? [] : [STATUS_CODES[status] ?? ''];
    this.#natives.writeHead.call(response, status, ...message);
    this.#natives.end.call(response, body);
  }

  /** @param {any[]} args */
  #write(args) {
    this.#begin();
    if (this.#state === 'recording') this.#collect(args[0], args[1]);
    if (this.#state !== 'replaced' && !this.#isDetached) return this.#natives.write.apply(this.#response, args);
    const written = args.find((value) => typeof value === 'function');
    if (written !== undefined) process.nextTick(written);
    return true;
  }

  /** @param {any[]} args */
  #end(args) {
    const response = this.#response;
    const chunk = typeof args[0] === 'function' ? undefined : (args[0] ?? undefined);
    if (this.#state === 'waiting') {
      // Node.js counts the bytes only of a response whose fields are not written yet.
      const isCounted = response.headersSent || response.hasHeader('content-length') || response.hasHeader('transfer-encoding');
      if (!isCounted && !this.#isHead && !isBodiless(response.statusCode)) {
        response.setHeader('Content-Length', chunk === undefined ? 0 : Buffer.byteLength(chunk, encodingOf(args[1])));
      }
      this.#begin();
    }
    if (this.#state === 'recording') {
      if (chunk !== undefined) this.#collect(chunk, args[1]);
      this.#complete();
    }
    if (this.#state !== 'replaced' && !this.#isDetached) return this.#natives.end.apply(response, args);
    const written = args.find((value) => typeof value === 'function');
    if (written !== undefined) process.nextTick(written);
    if (this.#isDetached) {
      this.#natives.end.call(response);
      process.nextTick(() => response.emit('finish'));
    }
    return response;
  }

  /** @param {any} chunk @param {any} encoding */
  #collect(chunk, encoding) {
    if (this.#isHead) return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : Buffer.from(chunk);
    this.#size += bytes.length;
    if (this.#size > this.#limit) this.#ignore();
    else this.#chunks.push(bytes);
  }

  #complete() {
    if (this.#state !== 'recording') return;
    const said = this.#response.getHeader('content-length');
    const isWhole = this.#isHead || said === undefined || Number(said) === this.#size;
    this.#finish(isWhole ? Buffer.concat(this.#chunks) : null);
  }
}

/** @param {any} encoding @returns {BufferEncoding} */
function encodingOf(encoding) {
  return typeof encoding === 'string' ? /** @type {BufferEncoding} */ (encoding) : 'utf8';
}

/** Sets fields that are given in one of the forms that writeHead takes. @param {any} response @param {any} fields */
function assign(response, fields) {
  if (fields === undefined || fields === null) return;
  if (!Array.isArray(fields)) {
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) response.setHeader(name, value);
    return;
  }
  const pairs = Array.isArray(fields[0]) ? fields : fields.flatMap((_, at) => (at % 2 === 0 ? [[fields[at], fields[at + 1]]] : []));
  /** @type {Map<string, any[]>} */
  const values = new Map();
  for (const [name, value] of pairs) values.set(name, [...(values.get(name) ?? []), value].flat());
  for (const [name, all] of values) response.setHeader(name, all.length === 1 ? all[0] : all);
}

module.exports = { Recorder };
