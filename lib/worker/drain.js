// @ts-check
'use strict';

// Leaving. A worker that drains takes nothing new, answers what it has, runs the program's hooks and waits for the
// promises that it was given, lets the program's own signal handlers do what they do, and ends when its event loop is
// empty. The primary holds the deadline and sends SIGTERM and SIGKILL when it passes.

const { AsyncLocalStorage } = require('node:async_hooks');
const { stopServer } = require('../http/graceful-close');
const { closeWebSockets, endSessions, hasBusySessions, isEventStream } = require('../http/shutdown-notice');
const { addon } = require('../native');
const { resources } = require('./aftermath');
const runtime = require('../runtime');
const { isWaiting, runHooks, waitedFor } = require('../process/shutdown-hooks');

/** WebSockets that end by themselves in this time need no notice that their worker leaves, milliseconds. */
const WEB_SOCKET_DELAY = 2500;

/** Between two looks at what is left, milliseconds. */
const LOOK_INTERVAL = 50;

/** The longest delay of a timer, milliseconds. */
const MAX_DELAY = 2 ** 31 - 1;

class Drain {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.begun = false;
    /** Others can have the connections. */
    this.handoff = true;
    /** A signal stops the cluster. */
    this.isSignalled = false;
    /** When it began, milliseconds. */
    this.since = 0;
    /** For how long there had been nothing to do when it began, milliseconds. */
    this.idleTime = 0;
    this.timeIsUp = false;
    this.endTime = () => {};
    /** Resolves when the time to drain is over. @type {Promise<void>} */
    this.over = new Promise((resolve) => {
      this.endTime = resolve;
    });
    /** The program's part is done when this resolves. @type {Promise<void> | null} */
    this.done = null;
    /** Whether a hook runs, for what is called within it. @type {AsyncLocalStorage<true> | undefined} */
    this.hooks = undefined;
    /** The end is under way. @type {Promise<void> | null} */
    this.ending = null;
    /** Servers that take no new connections. @type {Set<any>} */
    this.servers = new Set();
    /** Those that drover has closed, and the program has not. @type {WeakSet<object>} */
    this.closed = new WeakSet();
    /** Those whose 'close' has come. @type {WeakSet<object>} */
    this.ended = new WeakSet();
    /** Keeps the process alive until the event loop alone is waited for. @type {NodeJS.Timeout | undefined} */
    this.alive = undefined;
  }

  /** Drains because the program asked for it: the primary is to replace this worker. @returns {Promise<void>} */
  leave() {
    // A hook that asks for the end is part of it: it must not wait for itself.
    if (this.hooks?.getStore() === true) return Promise.resolve();
    if (!this.begun) addon.workerLeaving(this.worker.signals.signalled);
    return this.run();
  }

  /** Drains because the primary asked for it, and ends. @param {{ deadlineMs: number, handoff: boolean, signal: NodeJS.Signals | null }} how */
  begin({ deadlineMs, handoff, signal }) {
    this.handoff = handoff;
    if (this.begun) return;
    this.isSignalled = signal !== null;
    // Whatever is open: the program's handlers need time too.
    const { inner, signals } = this.worker;
    const half = () => {
      signals.call(signal);
      if (inner.isLeaving) inner.end('SIGTERM');
    };
    setTimeout(half, Math.min(deadlineMs / 2, MAX_DELAY)).unref();
    // A program that clusters itself waits for its processes in its handlers.
    if (!inner.isEmpty) signals.call(signal);
    this.run().then(() => {
      this.worker.signals.call(signal);
      // Not returned: waiting for the end must not be the handlers' work.
      void this.end();
    });
  }

  /** The primary was killed: what can be finished at once is finished, then the process exits. @param {number} grace milliseconds */
  hurry(grace) {
    if (this.begun) return;
    this.begin({ deadlineMs: grace, handoff: false, signal: null });
    setTimeout(() => process.exit(), grace);
  }

  /** The time to drain is over: what is open is cut, so that a program that waits for it can go on. */
  cut() {
    this.timeIsUp = true;
    this.endTime();
    this.servers.forEach(closeWebSockets);
    setImmediate(() => this.#sockets().forEach((socket) => socket.destroy()));
  }

  /**
   * Stops taking connections; resolves when the last request is answered (or the time to drain is over), the hooks have
   * run and what the program waits for is done.
   *
   * @returns {Promise<void>}
   */
  run() {
    this.done ??= this.worker.signals.work.exempt(() => this.#run());
    return this.done;
  }

  async #run() {
    this.begun = true;
    this.since = performance.now();
    this.idleTime = this.since - this.worker.aftermath.lastWork(this.since);
    this.alive = setInterval(() => {}, MAX_DELAY);
    addon.workerHold(false);
    // Another worker reads what is queued; what this one has read it still answers.
    this.worker.datagrams?.stopReading();
    // What the primary has given and the loop has not taken yet is still this worker's.
    addon.workerTakeWhatWaits();
    // Those that the program closes already still have their responses to send.
    for (const server of this.worker.connections.closing) this.servers.add(server);
    for (const server of this.worker.connections.servers()) {
      this.servers.add(server);
      if (this.#isNamed(server)) continue;
      stopServer(this.worker, server);
      endSessions(server);
    }
    this.worker.inner.leave();
    await Promise.race([this.#until(() => this.#isAnswered() && this.worker.inner.isEmpty), this.over]);
    await this.worker.leadership.done();
    this.hooks = new AsyncLocalStorage();
    await this.hooks.run(true, runHooks);
    await waitedFor();
  }

  /** Whether something of the program's goes on that it is given time for. */
  get #isBusy() {
    return this.worker.signals.work.isPending || isWaiting();
  }

  /**
   * Whether what is left is nothing that a worker waits for: a signal stops a program that handles none, and no work of
   * its goes on.
   */
  get #isDone() {
    if (!this.isSignalled || this.worker.signals.isHandled || this.#sockets().length > 0) return false;
    return this.idleTime >= this.worker.hello.config.processManagement.lingerTimeout || this.worker.aftermath.isOver;
  }

  /**
   * The process ends: as soon as the program's handlers have done what they began and the event loop is empty, which
   * Node notices by itself ('beforeExit', and what that begins).
   */
  end() {
    this.ending ??= this.worker.signals.work.exempt(() => this.#end());
    return this.ending;
  }

  async #end() {
    process.exitCode ??= 0;
    const { lingerTimeout } = this.worker.hello.config.processManagement;
    const { work } = this.worker.signals;
    this.#closeWebSocketsIn(WEB_SOCKET_DELAY - (performance.now() - this.since));
    clearInterval(this.alive);
    await Promise.race([this.#until(() => !this.#isBusy), emptied()]);
    // Handlers may have named further ones.
    await runHooks();
    const since = performance.now();
    const isNamed = (/** @type {any} */ server) => this.#isNamed(server);
    const waits = [...this.servers].some(isNamed);
    this.#close((server) => !isNamed(server));
    if (waits) {
      const isOver = () => this.timeIsUp || this.#sockets().length === 0 || performance.now() - since >= lingerTimeout;
      await Promise.race([this.#until(isOver), emptied()]);
      this.#close(() => true);
    }
    let busyAt = since;
    const lingered = this.#until(() => {
      if (this.#isBusy) busyAt = performance.now();
      else return this.timeIsUp || this.#isDone || performance.now() - busyAt >= lingerTimeout;
      return false;
    });
    // An empty event loop ends the process by itself, unless the listeners of 'beforeExit' begin something.
    const isEmpty = await Promise.race([lingered.then(() => false), emptied().then(() => true)]);
    if (isEmpty) await this.over;
    if (!this.#isDone) this.reportWhatIsLeft(Math.round(performance.now() - since));
    this.servers.forEach(closeWebSockets);
    if (!isEmpty) work.run(() => process.emit('beforeExit', Number(process.exitCode ?? 0)));
    await this.#until(() => !this.#isBusy);
    process.exit();
  }

  /** The event loop does not get empty. @param {number} waited milliseconds */
  reportWhatIsLeft(waited) {
    const left = resources();
    if (Object.keys(left).length > 0) addon.workerLingered(left, this.timeIsUp ? null : waited);
  }

  /** Resolves when `isSo`. Holds nobody up: a process with nothing else to do ends. @param {() => boolean} isSo @returns {Promise<void>} */
  #until(isSo) {
    return new Promise((resolve) => {
      const look = () => {
        if (!isSo()) return;
        clearInterval(timer);
        resolve();
      };
      const timer = setInterval(look, LOOK_INTERVAL).unref();
      look();
    });
  }

  /** Every request is answered; event streams and what has left HTTP behind go on for ever. */
  #isAnswered() {
    for (const server of this.servers) {
      const parsers = runtime.connectionsOf(server)?.all() ?? [];
      const isBusy = parsers.some(({ socket }) => socket && !isEventStream(runtime.responseOf(socket)));
      if (isBusy || hasBusySessions(server)) return false;
    }
    return true;
  }

  /** @param {number} delay milliseconds */
  #closeWebSocketsIn(delay) {
    setTimeout(() => this.servers.forEach(closeWebSockets), Math.max(0, delay)).unref();
  }

  /**
   * Whether the program opened the server in the course of its work, for another protocol than HTTP: clients may come by
   * what it has told them on another connection, as in FTP's passive mode, and nobody else serves them.
   *
   * @param {any} server
   */
  #isNamed(server) {
    const isLate = this.worker.connections.shareOf(server)?.isLate ?? false;
    return isLate && runtime.connectionsOf(server) === undefined && !runtime.isHttp2Server(server);
  }

  /**
   * Closes those that the program has not closed itself; its listeners of 'close' may begin something.
   *
   * @param {(server: any) => boolean} isMeant
   */
  #close(isMeant) {
    for (const server of this.servers) {
      if (!runtime.handleOf(server) || !isMeant(server)) continue;
      server.once('close', () => this.ended.add(server));
      this.worker.signals.work.run(() => server.close());
      this.closed.add(server);
    }
  }

  /** Whether 'close' has come. @param {any} server */
  isClosed(server) {
    return this.ended.has(server);
  }

  /** The connections of the servers. */
  #sockets() {
    return runtime.socketsOf((server) => this.servers.has(server));
  }
}

/** Resolves when the event loop is empty. @returns {Promise<void>} */
function emptied() {
  return new Promise((resolve) => process.prependOnceListener('beforeExit', () => resolve()));
}

module.exports = { Drain };
