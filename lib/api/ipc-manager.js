// @ts-check
'use strict';

// The IPCManager: messages as an object of its own. In a process of drover's it has that process's mailbox; elsewhere
// it speaks with any child process that has an IPC channel (Node's, or a subprocess of Bun's), and in such a child
// with its parent. What crosses there are IPCMessage and IPCResponse as they stand.

const { EventEmitter } = require('node:events');
const { ClusterError, WorkerCommunicationError } = require('../errors');
const { errorOf, handlerFailed, noHandler } = require('../messages/failures');
const { Mailbox } = require('../messages/endpoint');
const { worker } = require('../worker/worker');

/** Without a configuration: how long an answer may take, milliseconds. */
const TIMEOUT = 30_000;

/** Marks messages of this protocol among others of the channel. */
const PROTOCOL = 'drover:ipc';

/** Handlers without a cluster's mailbox. */
const nowhere = () =>
  new Mailbox({
    wire: null,
    listeners: { count: () => 0, emit() {} },
    advanced: false,
    isPrimary: true,
    workerId: undefined,
  });

class IPCManager extends EventEmitter {
  /** @type {import('../messages/endpoint').Mailbox | null} */
  #mailbox = null;
  #handlers = nowhere();
  /** @type {Map<string, { subprocess: any, heed: (message: any) => void, end: () => void }>} */
  #workers = new Map();
  /** @type {Map<string, { resolve: (value: any) => void, reject: (error: Error) => void, workerId: string, timer: NodeJS.Timeout }>} */
  #waiting = new Map();
  #last = 0;
  /** @type {((message: any) => void) | null} */
  #fromParent = null;

  constructor() {
    super();
    const own = worker();
    if (own !== null) this.join(own.mailbox);
    else if (typeof process.send === 'function') {
      this.#fromParent = (message) => this.#heed('master', process, message);
      process.on('message', this.#fromParent);
    }
  }

  /** From now on it is a cluster's. @param {import('../messages/endpoint').Mailbox} mailbox */
  join(mailbox) {
    for (const [type, handler] of this.#handlers.handlers) mailbox.onMessage(type, handler);
    this.#mailbox = mailbox;
    this.#handlers = mailbox;
  }

  /** @param {string} workerId @param {any} subprocess with `send`, and 'message' and 'exit' events */
  registerWorker(workerId, subprocess) {
    const id = String(workerId);
    if (typeof subprocess?.send !== 'function') {
      throw new ClusterError(`Worker ${id} has no IPC channel: start it with one`, 'INVALID_ARGUMENT');
    }
    this.unregisterWorker(id);
    const heed = (/** @type {any} */ message) => this.#heed(id, subprocess, message);
    const end = () => this.#ended(id);
    subprocess.on?.('message', heed);
    subprocess.on?.('exit', end);
    subprocess.on?.('disconnect', end);
    this.#workers.set(id, { subprocess, heed, end });
  }

  /** @param {string} workerId */
  unregisterWorker(workerId) {
    const known = this.#workers.get(String(workerId));
    if (known === undefined) return;
    known.subprocess.off?.('message', known.heed);
    known.subprocess.off?.('exit', known.end);
    known.subprocess.off?.('disconnect', known.end);
    this.#workers.delete(String(workerId));
    this.#fail(String(workerId));
  }

  /** @param {string} id */
  #ended(id) {
    this.#fail(id);
    this.emit('worker:gone', { workerId: id, timestamp: Date.now() });
  }

  /** @param {string} id */
  #fail(id) {
    for (const [question, { reject, workerId, timer }] of this.#waiting) {
      if (workerId !== id) continue;
      clearTimeout(timer);
      this.#waiting.delete(question);
      reject(new WorkerCommunicationError(`Worker ${id} is gone`, 'WORKER_GONE'));
    }
  }

  /** @param {string} workerId @param {any[]} message */
  async sendToWorker(workerId, ...message) {
    const known = this.#workers.get(String(workerId));
    if (known !== undefined) return this.#ask(String(workerId), known.subprocess, message);
    if (this.#mailbox !== null) return this.#mailbox.sendToWorker(workerId, ...message);
    throw new WorkerCommunicationError(`There is no worker ${workerId}`, 'NO_SUCH_WORKER');
  }

  /** @param {any[]} message */
  async broadcastToWorkers(...message) {
    const own = this.#mailbox === null ? [] : await this.#mailbox.broadcast(...message);
    const others = [...this.#workers].map(async ([workerId, { subprocess }]) => {
      const response = { id: workerId, correlationId: String(message[0]?.type ?? message[0]), workerId };
      return this.#ask(workerId, subprocess, message).then(
        (data) => ({ ...response, success: true, data, timestamp: Date.now() }),
        ({ message: error, code }) => ({ ...response, success: false, error, code, timestamp: Date.now() }),
      );
    });
    return [...own, ...(await Promise.all(others))];
  }

  /** @param {any[]} message */
  async sendToRandomWorker(...message) {
    const alive = [...this.#workers].filter(([, { subprocess }]) => isAlive(subprocess));
    if (alive.length === 0 && this.#mailbox !== null) return this.#mailbox.sendToRandomWorker(...message);
    if (alive.length === 0) throw new WorkerCommunicationError('No worker is alive', 'WORKER_GONE');
    const [workerId, { subprocess }] = alive[Math.floor(Math.random() * alive.length)];
    return this.#ask(workerId, subprocess, message);
  }

  /** @param {any[]} message */
  async sendToMaster(...message) {
    if (this.#mailbox !== null) return this.#mailbox.sendToPrimary(...message);
    if (this.#fromParent === null) throw new WorkerCommunicationError('This process has no parent to tell', 'WORKER_GONE');
    return this.#ask('master', process, message);
  }

  /** @param {any[]} message */
  sendToPrimary(...message) {
    return this.sendToMaster(...message);
  }

  /** @param {string} type @param {(message: any) => any} handler */
  registerHandler(type, handler) {
    this.#handlers.register(type, handler);
  }

  /** @param {string} type */
  unregisterHandler(type) {
    this.#handlers.unregister(type);
  }

  getWorkerStats() {
    const own = this.#mailbox === null || this.#mailbox.wire === null ? [] : this.#mailbox.targets();
    const alive =
      own.filter(({ name }) => name >= 0).length +
      [...this.#workers.values()].filter(({ subprocess }) => isAlive(subprocess)).length;
    const total = own.length + this.#workers.size;
    return { total, alive, dead: total - alive };
  }

  /** Lets go of every worker; a cluster's own messages go on. */
  destroy() {
    for (const id of this.#workers.keys()) this.unregisterWorker(id);
    this.#fail('master');
    if (this.#fromParent !== null) process.off('message', this.#fromParent);
    this.#fromParent = null;
    this.#mailbox = null;
    this.#handlers = nowhere();
    this.removeAllListeners();
  }

  /**
   * @param {string} workerId
   * @param {any} peer
   * @param {any[]} args (type, data) or (message)
   * @returns {Promise<any>}
   */
  #ask(workerId, peer, args) {
    const [type, data] = typeof args[0] === 'string' ? args : [args[0]?.type, args[0]?.data ?? args[0]];
    this.#last += 1;
    const id = `${process.pid}-${this.#last}`;
    const from = workerId === 'master' ? 'worker' : 'master';
    const message = { protocol: PROTOCOL, id, type, data, timestamp: Date.now(), from, to: workerId, correlationId: id };
    return new Promise((resolve, reject) => {
      const settle = (/** @type {Error} */ error) => {
        clearTimeout(this.#waiting.get(id)?.timer);
        if (this.#waiting.delete(id)) reject(error);
      };
      const late = () => settle(new WorkerCommunicationError('No answer came in time', 'MESSAGE_TIMEOUT'));
      this.#waiting.set(id, { resolve, reject, workerId, timer: setTimeout(late, TIMEOUT) });
      peer.send(message, (/** @type {Error | null} */ error) => {
        if (error) settle(new WorkerCommunicationError(`Worker ${workerId}: ${error.message}`, 'WORKER_GONE'));
      });
    });
  }

  /** @param {string} from @param {any} peer @param {any} message */
  async #heed(from, peer, message) {
    if (message?.protocol !== PROTOCOL) return;
    if ('success' in message) return this.#settle(message);
    const { protocol, ...shown } = message;
    this.emit('message', shown, from);
    const handler = this.#handlers.handlers.get(shown.type);
    const response = { protocol, id: `${shown.id}-answer`, correlationId: shown.id };
    const answer = (/** @type {any} */ outcome) => peer.send({ ...response, ...outcome, timestamp: Date.now() }, () => {});
    if (handler === undefined) return answer(failed(noHandler(shown.type)));
    try {
      answer({ success: true, data: await handler(shown.data, shown) });
    } catch (error) {
      answer(failed(handlerFailed(shown.type, error)));
    }
  }

  /** @param {any} response */
  #settle({ correlationId, success, data, failure }) {
    const asker = this.#waiting.get(correlationId);
    this.#waiting.delete(correlationId);
    clearTimeout(asker?.timer);
    if (success) asker?.resolve(data);
    else asker?.reject(errorOf(failure));
  }
}

/** @param {import('../messages/failures').Failure} failure */
function failed(failure) {
  return { success: false, error: failure.message, failure };
}

/** @param {any} subprocess */
function isAlive(subprocess) {
  return subprocess.connected !== false && (subprocess.exitCode ?? null) === null && !subprocess.killed;
}

exports.IPCManager = IPCManager;
