// @ts-check
'use strict';

// The IPCManager: messages as a separate object. In a process of drover's cluster it uses that process's message
// endpoint; elsewhere it exchanges messages with any child process that has an IPC channel (Node.js or Bun), and in
// such a child with its parent, as plain IPCMessage and IPCResponse objects.

const { EventEmitter } = require('node:events');
const { ClusterError, WorkerCommunicationError } = require('../errors');
const { errorOf, handlerFailed, noHandler } = require('../messages/failures');
const { MessageEndpoint } = require('../messages/endpoint');
const { worker } = require('../worker/worker');

/** Timeout of a response without a configuration, milliseconds. */
const RESPONSE_TIMEOUT = 30_000;

/** Marks messages of this protocol among others of the channel. */
const PROTOCOL = 'drover:ipc';

/** Handlers while there is no cluster endpoint. */
const unconnected = () =>
  new MessageEndpoint({
    wire: null,
    listeners: { count: () => 0, emit() {} },
    advanced: false,
    isPrimary: true,
    workerId: undefined,
  });

class IPCManager extends EventEmitter {
  /** @type {import('../messages/endpoint').MessageEndpoint | null} */
  #endpoint = null;
  #handlers = unconnected();
  /** @type {Map<string, { subprocess: any, onMessage: (message: any) => void, end: () => void }>} */
  #workers = new Map();
  /** @type {Map<string, { resolve: (value: any) => void, reject: (error: Error) => void, workerId: string, timer: NodeJS.Timeout }>} */
  #pending = new Map();
  #last = 0;
  /** @type {((message: any) => void) | null} */
  #fromParent = null;

  constructor() {
    super();
    const own = worker();
    if (own !== null) this.join(own.messages);
    else if (typeof process.send === 'function') {
      this.#fromParent = (message) => this.#onMessage('master', process, message);
      process.on('message', this.#fromParent);
    }
  }

  /**
   * Attaches this object to a cluster's message endpoint.
   *
   * @param {import('../messages/endpoint').MessageEndpoint} endpoint
   */
  join(endpoint) {
    for (const [type, handler] of this.#handlers.handlers) endpoint.onMessage(type, handler);
    this.#endpoint = endpoint;
    this.#handlers = endpoint;
  }

  /** @param {string} workerId @param {any} subprocess with `send`, and 'message' and 'exit' events */
  registerWorker(workerId, subprocess) {
    const id = String(workerId);
    if (typeof subprocess?.send !== 'function') {
      throw new ClusterError(`Worker ${id} has no IPC channel: start it with one`, 'INVALID_ARGUMENT');
    }
    this.unregisterWorker(id);
    const onMessage = (/** @type {any} */ message) => this.#onMessage(id, subprocess, message);
    const end = () => this.#ended(id);
    subprocess.on?.('message', onMessage);
    subprocess.on?.('exit', end);
    subprocess.on?.('disconnect', end);
    this.#workers.set(id, { subprocess, onMessage, end });
  }

  /** @param {string} workerId */
  unregisterWorker(workerId) {
    const known = this.#workers.get(String(workerId));
    if (known === undefined) return;
    known.subprocess.off?.('message', known.onMessage);
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
    for (const [request, { reject, workerId, timer }] of this.#pending) {
      if (workerId !== id) continue;
      clearTimeout(timer);
      this.#pending.delete(request);
      reject(new WorkerCommunicationError(`Worker ${id} is gone`, 'WORKER_GONE'));
    }
  }

  /** @param {string} workerId @param {any[]} message */
  async sendToWorker(workerId, ...message) {
    const known = this.#workers.get(String(workerId));
    if (known !== undefined) return this.#request(String(workerId), known.subprocess, message);
    if (this.#endpoint !== null) return this.#endpoint.sendToWorker(workerId, ...message);
    throw new WorkerCommunicationError(`There is no worker ${workerId}`, 'NO_SUCH_WORKER');
  }

  /** @param {any[]} message */
  async broadcastToWorkers(...message) {
    const own = this.#endpoint === null ? [] : await this.#endpoint.broadcast(...message);
    const others = [...this.#workers].map(async ([workerId, { subprocess }]) => {
      const response = { id: workerId, correlationId: String(message[0]?.type ?? message[0]), workerId };
      return this.#request(workerId, subprocess, message).then(
        (data) => ({ ...response, success: true, data, timestamp: Date.now() }),
        ({ message: error, code }) => ({ ...response, success: false, error, code, timestamp: Date.now() }),
      );
    });
    return [...own, ...(await Promise.all(others))];
  }

  /** @param {any[]} message */
  async sendToRandomWorker(...message) {
    const alive = [...this.#workers].filter(([, { subprocess }]) => isAlive(subprocess));
    if (alive.length === 0 && this.#endpoint !== null) return this.#endpoint.sendToRandomWorker(...message);
    if (alive.length === 0) throw new WorkerCommunicationError('No worker is alive', 'WORKER_GONE');
    const [workerId, { subprocess }] = alive[Math.floor(Math.random() * alive.length)];
    return this.#request(workerId, subprocess, message);
  }

  /** @param {any[]} message */
  async sendToMaster(...message) {
    if (this.#endpoint !== null) return this.#endpoint.sendToPrimary(...message);
    if (this.#fromParent === null) throw new WorkerCommunicationError('This process has no parent with an IPC channel', 'WORKER_GONE');
    return this.#request('master', process, message);
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
    const own = this.#endpoint === null || this.#endpoint.wire === null ? [] : this.#endpoint.targets();
    const alive =
      own.filter(({ numericId }) => numericId >= 0).length +
      [...this.#workers.values()].filter(({ subprocess }) => isAlive(subprocess)).length;
    const total = own.length + this.#workers.size;
    return { total, alive, dead: total - alive };
  }

  /** Unregisters every worker; a cluster's own messages are not affected. */
  destroy() {
    for (const id of this.#workers.keys()) this.unregisterWorker(id);
    this.#fail('master');
    if (this.#fromParent !== null) process.off('message', this.#fromParent);
    this.#fromParent = null;
    this.#endpoint = null;
    this.#handlers = unconnected();
    this.removeAllListeners();
  }

  /**
   * @param {string} workerId
   * @param {any} peer
   * @param {any[]} args (type, data) or (message)
   * @returns {Promise<any>}
   */
  #request(workerId, peer, args) {
    const [type, data] = typeof args[0] === 'string' ? args : [args[0]?.type, args[0]?.data ?? args[0]];
    this.#last += 1;
    const id = `${process.pid}-${this.#last}`;
    const from = workerId === 'master' ? 'worker' : 'master';
    const message = { protocol: PROTOCOL, id, type, data, timestamp: Date.now(), from, to: workerId, correlationId: id };
    return new Promise((resolve, reject) => {
      const fail = (/** @type {Error} */ error) => {
        clearTimeout(this.#pending.get(id)?.timer);
        if (this.#pending.delete(id)) reject(error);
      };
      const late = () => fail(new WorkerCommunicationError('No answer came in time', 'MESSAGE_TIMEOUT'));
      this.#pending.set(id, { resolve, reject, workerId, timer: setTimeout(late, RESPONSE_TIMEOUT) });
      peer.send(message, (/** @type {Error | null} */ error) => {
        if (error) fail(new WorkerCommunicationError(`Worker ${workerId}: ${error.message}`, 'WORKER_GONE'));
      });
    });
  }

  /** @param {string} from @param {any} peer @param {any} message */
  async #onMessage(from, peer, message) {
    if (message?.protocol !== PROTOCOL) return;
    if ('success' in message) return this.#finish(message);
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
  #finish({ correlationId, success, data, failure }) {
    const request = this.#pending.get(correlationId);
    this.#pending.delete(correlationId);
    clearTimeout(request?.timer);
    if (success) request?.resolve(data);
    else request?.reject(errorOf(failure));
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
