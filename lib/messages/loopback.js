// @ts-check
'use strict';

// The transport of a process without a cluster: the process is the primary and worker 0, and messages are delivered to
// itself.

const { FAILURE, JSON_TEXT, NOBODY, REFUSED, REQUEST, RESPONSE, packHead } = require('./numbers');

const WORKER = 0;

class Loopback {
  /** @param {{ timeout: number, maxMessageSize: number, maxPending: number }} limits */
  constructor(limits) {
    this.limits = limits;
    this.lastId = 0;
    /** @type {any} */
    this.refusal = null;
    /** @type {any[]} */
    this.batch = [];
    /** Pending requests with their timeout timers. @type {Map<number, NodeJS.Timeout>} */
    this.pending = new Map();
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
    if (what === REQUEST && this.pending.size >= maxPending) {
      return this.refuse('MESSAGE_QUEUE_FULL', 'Too many messages wait already (ipc.maxPending)');
    }
    if (what === RESPONSE || what === FAILURE) {
      clearTimeout(this.pending.get(answers));
      if (this.pending.delete(answers)) this.put(to, packHead(answers, format, what), kind, body);
      return 0;
    }
    const id = what === REQUEST ? ++this.lastId : 0;
    if (what === REQUEST) this.pending.set(id, setTimeout(() => this.timeOut(id), timeout < 0 ? this.limits.timeout : timeout));
    this.put(to < 0 ? WORKER : to, packHead(id, format, what), kind, body);
    return id;
  }

  /**
   * @param {number[]} receivers
   * @param {number} timeout
   * @param {string} kind
   * @param {number} format
   * @param {string | Buffer} body
   */
  requestAll(receivers, timeout, kind, format, body) {
    return receivers.map((to) => {
      const id = this.post(to, REQUEST, 0, timeout, kind, format, body);
      return id === REFUSED ? this.refusal : id;
    });
  }

  /** @param {any[]} message as `deliver` takes it */
  put(...message) {
    if (this.batch.length === 0) {
      setImmediate(() => {
        const { batch } = this;
        this.batch = [];
        for (const one of batch) this.deliver(...one);
      });
    }
    this.batch.push(message);
  }

  /** @param {number} id */
  timeOut(id) {
    this.pending.delete(id);
    this.put(WORKER, packHead(id, JSON_TEXT, FAILURE), '', JSON.stringify({ code: 'MESSAGE_TIMEOUT', message: 'No answer came in time' }));
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
  workerIdOf(slot) {
    return slot === 0 ? WORKER : NOBODY;
  }

  targets() {
    return [0, WORKER, 1];
  }
}

module.exports = { Loopback };
