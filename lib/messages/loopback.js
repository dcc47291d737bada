// @ts-check
'use strict';

// The wire of a process without a cluster: it is the primary and worker 0 at once, and messages reach itself.

const { ANSWER, ASK, FAILURE, REFUSED } = require('./endpoint');

const WORKER = 0;

/** As the core puts them together. @param {number} id @param {number} format @param {number} what */
const headOf = (id, format, what) => id * 16 + format * 4 + what;

class Loopback {
  /** @param {{ timeout: number, maxMessageSize: number, maxPending: number }} limits */
  constructor(limits) {
    this.limits = limits;
    this.lastId = 0;
    /** @type {any} */
    this.refusal = null;
    /** @type {any[]} */
    this.batch = [];
    /** Questions that wait, with what ends the wait. @type {Map<number, NodeJS.Timeout>} */
    this.open = new Map();
    /** @type {(...batch: any[]) => void} */
    this.deliver = () => {};
  }

  /**
   * @param {number} to
   * @param {number} what
   * @param {number} answers
   * @param {number} timeout
   * @param {string} kind
   * @param {number} format
   * @param {string | Buffer} body
   */
  post(to, what, answers, timeout, kind, format, body) {
    const { maxMessageSize, maxPending } = this.limits;
    if (Buffer.byteLength(body) > maxMessageSize) {
      return this.refuse('MESSAGE_TOO_LARGE', `A message is larger than ipc.maxMessageSize (${maxMessageSize})`);
    }
    if (what === ASK && this.open.size >= maxPending) {
      return this.refuse('MESSAGE_QUEUE_FULL', 'Too many messages wait already (ipc.maxPending)');
    }
    if (what === ANSWER || what === FAILURE) {
      clearTimeout(this.open.get(answers));
      if (this.open.delete(answers)) this.put(to, headOf(answers, format, what), kind, body);
      return 0;
    }
    const id = what === ASK ? ++this.lastId : 0;
    if (what === ASK) this.open.set(id, setTimeout(() => this.late(id), timeout < 0 ? this.limits.timeout : timeout));
    this.put(to < 0 ? WORKER : to, headOf(id, format, what), kind, body);
    return id;
  }

  /** @param {any[]} letter */
  put(...letter) {
    if (this.batch.length === 0) {
      setImmediate(() => {
        const { batch } = this;
        this.batch = [];
        for (const letter of batch) this.deliver(...letter);
      });
    }
    this.batch.push(letter);
  }

  /** @param {number} id */
  late(id) {
    this.open.delete(id);
    this.put(WORKER, headOf(id, 0, FAILURE), '', JSON.stringify({ code: 'MESSAGE_TIMEOUT', message: 'No answer came in time' }));
  }

  /** @param {string} code @param {string} message */
  refuse(code, message) {
    this.refusal = { code, message };
    return REFUSED;
  }

  error() {
    return this.refusal;
  }

  /** @param {number} slot */
  name(slot) {
    return slot === 0 ? WORKER : -2;
  }

  targets() {
    return [0, WORKER, 1];
  }
}

module.exports = { Loopback };
