// @ts-check
'use strict';

// The message endpoint of a process: its handlers and its pending requests. The same in the primary, in a worker and
// without a cluster; `wire` is the transport.

const { AsyncLocalStorage } = require('node:async_hooks');
const { setTimeout: wait } = require('node:timers/promises');
const { ClusterError, WorkerCommunicationError, rethrow } = require('../errors');
const { checkScope } = require('../process/leadership');
const { pauseAfter } = require('../retry');
const { decode, encode } = require('./body');
const { errorOf, handlerFailed, isAway, noHandler, notThere } = require('./failures');
const { dataOf, milliseconds, read, typeOf } = require('./message');
const { FAILURE, JSON_TEXT, NOBODY, NOTIFICATION, PRIMARY, REFUSED, REQUEST, RESPONSE, slotOf, unpackHead } = require('./numbers');

/** Number of values per message in a batch of the core. */
const STRIDE = 4;

/** In place of a sender: another machine. */
const MACHINE = -3;

/**
 * Maximum characters of an error text that had to be cut: with any characters it fits the minimum of
 * `ipc.maxMessageSize`.
 */
const MAX_ERROR_TEXT = 150;

/** The message type of `invalidateCache`. */
const INVALIDATE = 'cache:invalidate';
/** True while such a message is handled. @type {AsyncLocalStorage<boolean>} */
const invalidating = new AsyncLocalStorage();

/**
 * @typedef {object} Wire
 * @property {(to: number, what: number, answers: number, timeout: number, kind: string, format: number, body: string | Buffer) => number} post
 * the id of a request, or `REFUSED`
 * @property {(receivers: number[], timeout: number, kind: string, format: number, body: string | Buffer) => any[]} requestAll
 * for each receiver the id of the request, or why it was not sent: `{ code, message, details }`
 * @property {() => any} error why the last `post` was refused
 * @property {(slot: number) => number} workerIdOf the id of a slot's worker as a number; -1 if it does not run now, -2 if there is
 * no such slot
 * @property {() => number[]} targets for each slot: its number, the worker's id as a number or -1, and a state: 1 if it
 * serves, 2 if it serves but its loop is blocked or its checks fail
 */

/**
 * @typedef {object} Listeners the program's 'message' listeners
 * @property {() => number} count
 * @property {(message: any, from: number) => { error: unknown } | null | void} emit throws the error of a listener, or
 * returns it if the runtime has reported it as uncaught
 */

class MessageEndpoint {
  /**
   * @param {object} made
   * @param {Wire | null} made.wire null as long as there is no transport
   * @param {Listeners} made.listeners
   * @param {boolean} made.advanced structured clones instead of JSON
   * @param {boolean} made.isPrimary
   * @param {string | undefined} made.workerId
   * @param {import('../retry').Retry | null} [made.retry] retries of messages to a worker that is being replaced
   * @param {(text: string) => void} [made.note] writes a line for the operator
   * @param {number} [made.timeout] of a request to other machines, in milliseconds
   */
  constructor({ wire, listeners, advanced, isPrimary, workerId, retry = null, note = () => {}, timeout = 30_000 }) {
    this.timeout = timeout;
    this.wire = wire;
    this.listeners = listeners;
    this.advanced = advanced;
    this.isPrimary = isPrimary;
    this.workerId = workerId;
    this.retry = retry;
    this.note = note;
    /** @type {Map<string, (data: any, message: any) => any>} */
    this.handlers = new Map();
    /**
     * Pending requests by id.
     *
     * @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>}
     */
    this.pending = new Map();
    this.broadcasts = 0;
    this.hasWarned = false;
    /** Other machines, if there is `redis` in the configuration. @type {import('../fleet/fleet').Fleet | null} */
    this.fleet = null;
    /** The machines whose messages are being handled, by their numbers. @type {Map<number, string>} */
    this.machines = new Map();
  }

  /** @param {import('../fleet/fleet').Fleet} fleet */
  join(fleet) {
    this.fleet = fleet;
    fleet.receive = (number, { machine, kind, format, body }) => {
      this.machines.set(number, machine);
      this.handle(MACHINE, number, kind, format, format === JSON_TEXT ? body.toString() : body);
    };
  }

  /** Whether the program takes messages. */
  get isListening() {
    return this.handlers.size > 0 || this.listeners.count() > 0;
  }

  /** @param {string} type @param {(data: any, message: any) => any} handler */
  onMessage(type, handler) {
    if (typeof type !== 'string' || type === '') {
      throw new ClusterError(`A message type must be a string, not ${typeof type}`, 'INVALID_ARGUMENT');
    }
    if (typeof handler !== 'function') {
      throw new ClusterError(`The handler of '${type}' must be a function, not ${typeof handler}`, 'INVALID_ARGUMENT');
    }
    if (this.handlers.has(type)) {
      const text = `Messages of type '${type}' have a handler already: call unregisterHandler('${type}') first`;
      throw new ClusterError(text, 'HANDLER_EXISTS');
    }
    this.handlers.set(type, handler);
  }

  /**
   * Like `onMessage`, for handlers that are called with the message only.
   *
   * @param {string} type
   * @param {(message: any) => any} handler
   */
  register(type, handler) {
    this.onMessage(type, typeof handler === 'function' ? (_, message) => handler(message) : handler);
  }

  /** @param {string} type */
  unregister(type) {
    this.handlers.delete(type);
  }

  /**
   * Passes a message to the transport, which sends it now, or together with others at the end of this event-loop
   * iteration.
   *
   * @param {number} to
   * @param {number} what
   * @param {number} answers
   * @param {number} timeout
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   */
  post(to, what, answers, timeout, kind, { format, body }) {
    if (this.wire === null) throw new ClusterError('The cluster is not running', 'STOPPED');
    const id = this.wire.post(to, what, answers, timeout, kind, format, body);
    if (id === REFUSED) throw failed(this.wire.error());
    return id;
  }

  /** Sends a message without a response to the primary's program. @param {any} message */
  notify(message) {
    this.post(PRIMARY, NOTIFICATION, 0, -1, typeOf(message), encode(message, this.advanced));
  }

  /**
   * @param {number} to
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   * @param {number} timeout
   * @returns {Promise<any>}
   */
  request(to, kind, content, timeout) {
    return new Promise((resolve, reject) => {
      const id = this.post(to, REQUEST, 0, timeout, kind, content);
      this.pending.set(id, { resolve, reject });
    });
  }

  /**
   * Sends a request to the process that `choose` returns; invalid arguments reject, too.
   *
   * @param {() => number} choose
   * @param {any[]} args
   * @param {number} tries failed attempts so far
   * @returns {Promise<any>}
   */
  send(choose, args, tries = 0) {
    // Not an async function: each async layer costs every message another microtask.
    try {
      const { message, options } = read(args);
      const timeout = milliseconds(options.timeout);
      return this.request(choose(), typeOf(message), encode(message, this.advanced), timeout);
    } catch (error) {
      const pause = isAway(error) ? pauseAfter(this.retry, tries) : null;
      if (pause === null) return Promise.reject(error);
      return wait(pause).then(() => this.send(choose, args, tries + 1));
    }
  }

  /** @param {any[]} args */
  sendToPrimary(...args) {
    return this.send(() => PRIMARY, args);
  }

  /** @param {string | number} workerId @param {any[]} args */
  sendToWorker(workerId, ...args) {
    return this.send(() => this.workerIdOf(workerId), args);
  }

  /** @param {any[]} args */
  sendToRandomWorker(...args) {
    return this.send(() => this.randomWorkerId(), args);
  }

  /** Chooses a healthy serving worker, other than this one if possible; an unhealthy one only if none is healthy. */
  randomWorkerId() {
    const serving = this.targets().filter(({ serves }) => serves);
    const well = serving.filter(({ isWell }) => isWell);
    const fit = well.length > 0 ? well : serving;
    const others = fit.filter(({ slot }) => slot !== this.workerId);
    const choice = others.length > 0 ? others : fit;
    if (choice.length === 0) throw new WorkerCommunicationError('No worker serves', 'WORKER_GONE');
    return choice[Math.floor(Math.random() * choice.length)].numericId;
  }

  /** Resolves to one response per worker, including failures. @param {any[]} args */
  async broadcast(...args) {
    const { message, options } = read(args);
    const timeout = milliseconds(options.timeout);
    const kind = typeOf(message);
    const content = encode(message, this.advanced);
    if (options.scope !== undefined) checkScope(options.scope);
    const here = this.#broadcastHere(kind, content, timeout, options.self === true);
    if (options.scope !== 'fleet' || this.fleet === null) return here;
    const [own, others] = await Promise.all([here, this.#broadcastToMachines(this.fleet, kind, content, timeout)]);
    return [...own, ...others];
  }

  /**
   * @param {import('../fleet/fleet').Fleet} fleet
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   * @param {number} timeout
   * @returns {Promise<any[]>} one response per worker of the other machines
   */
  async #broadcastToMachines(fleet, kind, content, timeout) {
    this.broadcasts += 1;
    const correlationId = `${process.pid}-${this.broadcasts}`;
    const common = (/** @type {string | undefined} */ machine, /** @type {string | undefined} */ workerId) => ({
      id: `${correlationId}-${machine ?? ''}-${workerId ?? ''}`,
      correlationId,
      machine,
      workerId,
      timestamp: Date.now(),
    });
    const failure = (/** @type {string | undefined} */ machine, /** @type {string | undefined} */ workerId, /** @type {any} */ { message, code }) => ({
      ...common(machine, workerId),
      success: false,
      error: message,
      code,
    });
    try {
      const answers = await fleet.broadcast(kind, content, timeout < 0 ? this.timeout : timeout);
      return answers.map(({ machine, workerId: id, isAnswer, format, body }) => {
        const workerId = id === '' ? undefined : id;
        try {
          const data = decode(format, format === JSON_TEXT ? body.toString() : body);
          return isAnswer ? { ...common(machine, workerId), success: true, data } : failure(machine, workerId, data);
        } catch (error) {
          return failure(machine, workerId, { message: `The answer cannot be read: ${error}`, code: 'WORKER_COMMUNICATION' });
        }
      });
    } catch (error) {
      return [failure(undefined, undefined, error)];
    }
  }

  /**
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   * @param {number} timeout
   * @param {boolean} self also to this worker
   * @returns {Promise<any[]>}
   */
  async #broadcastHere(kind, content, timeout, self) {
    const targets = this.targets().filter(({ slot }) => self || slot !== this.workerId);
    this.broadcasts += 1;
    const correlationId = `${process.pid}-${this.broadcasts}`;
    const here = targets.filter(({ numericId }) => numericId >= 0);
    const requests = this.requestAll(here.map(({ numericId }) => numericId), kind, content, timeout);
    return new Promise((resolve) => {
      /** @type {any[]} */
      const responses = [];
      let left = targets.length;
      if (left === 0) resolve(responses);
      const settle = (/** @type {number} */ at, /** @type {any} */ response) => {
        responses[at] = response;
        left -= 1;
        if (left === 0) resolve(responses);
      };
      let sent = 0;
      targets.forEach(({ slot, numericId }, at) => {
        const id = `${correlationId}-${slot}`;
        // Object literals: a spread costs as much as the rest of a response.
        const fails = (/** @type {any} */ { message: error, code }) =>
          settle(at, { id, correlationId, workerId: slot, success: false, error, code, timestamp: Date.now() });
        if (numericId < 0) return fails(notThere(slot));
        const request = requests[sent++];
        if (typeof request !== 'number') return fails(failed(request));
        this.pending.set(request, {
          resolve: (data) => settle(at, { id, correlationId, workerId: slot, success: true, data, timestamp: Date.now() }),
          reject: fails,
        });
      });
    });
  }

  /**
   * Sends requests to several receivers in one call into the core, which reads the message once.
   *
   * @param {number[]} receivers
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   * @param {number} timeout
   * @returns {any[]} for each receiver the id of the request, or the core's error
   */
  requestAll(receivers, kind, { format, body }, timeout) {
    if (this.wire === null) throw new ClusterError('The cluster is not running', 'STOPPED');
    return this.wire.requestAll(receivers, timeout, kind, format, body);
  }

  /**
   * Notifies every worker of every machine, including this one, so that the application can invalidate its own caches. A handler of such
   * a message that calls this again sends nothing.
   *
   * @param {string} pattern
   */
  async invalidate(pattern) {
    if (invalidating.getStore()) return;
    await this.broadcast({ type: INVALIDATE, pattern }, { self: true, scope: 'fleet' });
  }

  targets() {
    if (this.wire === null) throw new ClusterError('The cluster is not running', 'STOPPED');
    const flat = this.wire.targets();
    const targets = [];
    for (let at = 0; at < flat.length; at += 3) {
      targets.push({ slot: String(flat[at]), numericId: flat[at + 1], serves: flat[at + 2] > 0, isWell: flat[at + 2] !== 2 });
    }
    return targets;
  }

  /** @param {string | number} workerId */
  workerIdOf(workerId) {
    if (this.wire === null) throw new ClusterError('The cluster is not running', 'STOPPED');
    const id = /^\d{1,4}$/.test(String(workerId)) ? this.wire.workerIdOf(Number(workerId)) : NOBODY;
    if (id === NOBODY) throw new WorkerCommunicationError(`There is no worker ${workerId}`, 'NO_SUCH_WORKER');
    if (id < 0) throw notThere(String(workerId));
    return id;
  }

  /**
   * Handles a batch of received messages from the core. An error of a listener is an 'uncaughtException' and does not
   * affect the other messages.
   *
   * @param {any[]} batch
   */
  deliver(...batch) {
    for (let at = 0; at < batch.length; at += STRIDE) {
      const [from, head, kind, body] = [batch[at], batch[at + 1], batch[at + 2], batch[at + 3]];
      const { what, format, id } = unpackHead(head);
      if (what === REQUEST) this.handle(from, id, kind, format, body);
      else if (what === NOTIFICATION) this.onNotification(from, format, body);
      else this.finish(what, id, format, body);
    }
  }

  /**
   * @param {number} what
   * @param {number} id
   * @param {number} format
   * @param {any} body
   */
  finish(what, id, format, body) {
    const request = this.pending.get(id);
    this.pending.delete(id);
    try {
      const value = decode(format, body);
      if (what === RESPONSE) request?.resolve(value);
      else request?.reject(errorOf(value));
    } catch (error) {
      request?.reject(new WorkerCommunicationError(`The answer cannot be read: ${error}`, 'WORKER_COMMUNICATION'));
    }
  }

  /** Emits a message to the program's own listeners. @param {number} from @param {number} format @param {any} body */
  onNotification(from, format, body) {
    try {
      const message = decode(format, body);
      if (this.listeners.count() === 0) this.warnUnheard(message);
      this.listeners.emit(message, from);
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }

  /** Logs once that a message was lost because it has no listener. @param {any} message */
  warnUnheard(message) {
    if (this.hasWarned) return;
    this.hasWarned = true;
    const where = this.isPrimary ? "cluster.on('message', ...) in the primary" : "process.on('message', ...)";
    const type = typeOf(message);
    const named = type === '' ? 'A message' : `A message of type '${type}'`;
    const text = `${named} came by send() and has no listener: add one with ${where}`;
    // Programs notify a possible parent process this way and expect no listener.
    if (this.isPrimary && this.handlers.size === 0) return this.note(text);
    process.emitWarning(text, { type: 'DroverWarning', code: 'UNHEARD_MESSAGE' });
  }

  /**
   * @param {number} from
   * @param {number} id
   * @param {string} kind
   * @param {number} format
   * @param {any} body
   */
  handle(from, id, kind, format, body) {
    const handler = this.handlers.get(kind);
    const isListenedTo = this.listeners.count() > 0;
    if (handler === undefined && !isListenedTo) return this.fail(from, id, noHandler(kind));
    /** @type {any} */
    let message;
    try {
      message = decode(format, body);
    } catch (error) {
      return this.fail(from, id, { code: 'WORKER_COMMUNICATION', message: `The message cannot be read: ${error}` });
    }
    // The rules were checked for the type on the envelope.
    if (typeOf(message) !== kind) return this.fail(from, id, noHandler(typeOf(message)));
    const run = () => {
      if (isListenedTo) this.emit(message, from);
      return handler?.(dataOf(message), this.messageOf(message, kind, from, id));
    };
    /** @param {unknown} error */
    const fails = (error) => this.fail(from, id, handlerFailed(kind, error));
    try {
      const data = kind === INVALIDATE ? invalidating.run(true, run) : run();
      // A synchronous result is sent without waiting for a promise.
      if (typeof data?.then === 'function') Promise.resolve(data).then((late) => this.reply(from, id, kind, late), fails);
      else this.reply(from, id, kind, data);
    } catch (error) {
      fails(error);
    }
  }

  /**
   * An error of a listener is reported to the sender and thrown in this process.
   *
   * @param {any} message
   * @param {number} from
   */
  emit(message, from) {
    let reported;
    try {
      reported = this.listeners.emit(message, from);
    } catch (error) {
      process.nextTick(rethrow, error);
      throw error;
    }
    if (reported) throw reported.error;
  }

  /**
   * The IPCMessage for a handler of `registerHandler`.
   *
   * @param {any} message
   * @param {string} type
   * @param {number} from
   * @param {number} id
   */
  messageOf(message, type, from, id) {
    return {
      id: String(id),
      type,
      data: dataOf(message),
      timestamp: Date.now(),
      from: from === PRIMARY ? 'master' : from === MACHINE ? 'fleet' : 'worker',
      workerId: from < 0 ? undefined : slotOf(from),
      machine: from === MACHINE ? this.machines.get(id) : undefined,
      to: this.isPrimary ? undefined : this.workerId,
      correlationId: String(id),
    };
  }

  /**
   * @param {number} to
   * @param {number} what
   * @param {number} id
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   */
  #respond(to, what, id, kind, content) {
    if (to !== MACHINE) {
      this.post(to, what, id, -1, kind, content);
      return;
    }
    this.fleet?.answer(id, what === RESPONSE, content.format, content.body);
    this.machines.delete(id);
  }

  /** @param {number} to @param {number} id @param {string} kind @param {any} data */
  reply(to, id, kind, data) {
    try {
      this.#respond(to, RESPONSE, id, kind, encode(data, this.advanced));
    } catch (error) {
      // The response is too large or cannot be serialized: send that error instead.
      const { code = 'HANDLER_FAILED', message } = /** @type {any} */ (error);
      this.fail(to, id, { code, message: `The answer to '${kind}' cannot be sent: ${message}` });
    }
  }

  /** @param {number} to @param {number} id @param {import('./failures').Failure} failure */
  fail(to, id, failure) {
    const send = (/** @type {import('./failures').Failure} */ { code, message, cause }) =>
      this.#respond(to, FAILURE, id, '', { format: JSON_TEXT, body: JSON.stringify({ code, message, cause }) });
    try {
      send(failure);
    } catch (error) {
      // Either the sender of the request is gone, or the error text is too long.
      if (/** @type {any} */ (error).code !== 'MESSAGE_TOO_LARGE') return;
      send({ code: failure.code, message: failure.message.slice(0, MAX_ERROR_TEXT) });
    }
  }
}

/** @param {any} core */
function failed(core) {
  return core === null ? new ClusterError('The cluster is not running', 'STOPPED') : errorOf(core);
}

exports.MessageEndpoint = MessageEndpoint;
