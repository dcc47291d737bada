// @ts-check
'use strict';

// The drain of a worker: it takes no new work, answers pending requests, runs the program's hooks, waits for promises
// passed to waitUntil, calls the program's signal handlers, and exits when its event loop is empty. The primary enforces
// the deadline with SIGTERM and SIGKILL.

const { AsyncLocalStorage } = require('node:async_hooks');
const { stopServer } = require('../http/graceful-close');
const { protocolOf } = require('../http/protocols');
const { closeWebSockets, endSessions, hasBusySessions, isEventStream } = require('../http/shutdown-notice');
const { addon } = require('../native');
const { resources } = require('./aftermath');
const runtime = require('../runtime');
const { isWaiting, runHooks, waitedFor } = require('../process/shutdown-hooks');

/** How long WebSockets may end on their own before they get a close frame, milliseconds. */
const WEB_SOCKET_DELAY = 2500;

/** Interval of the checks for remaining work, milliseconds. */
const LOOK_INTERVAL = 50;

/** Maximum delay of a timer, milliseconds. */
const MAX_DELAY = 2 ** 31 - 1;

/** What keeps an event loop alive whose runtime does not tell what does. */
const UNNAMED = { 'unknown resource': 1 };

class Drain {
  /** @param {import('./worker').Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.begun = false;
    /** Idle connections may be handed off to other workers. */
    this.handoff = true;
    /** A signal stops the cluster. */
    this.isSignalled = false;
    /** When the drain began, milliseconds. */
    this.since = 0;
    /** How long the worker had been idle when the drain began, milliseconds. */
    this.idleTime = 0;
    this.timeIsUp = false;
    this.endTime = () => {};
    /** Resolves when the deadline has passed. @type {Promise<void>} */
    this.over = new Promise((resolve) => {
      this.endTime = resolve;
    });
    /** Resolves when requests, hooks and promises of waitUntil are done. @type {Promise<void> | null} */
    this.done = null;
    /** Marks the async context of the hooks. @type {AsyncLocalStorage<true> | undefined} */
    this.hooks = undefined;
    /** The pending end of the process. @type {Promise<void> | null} */
    this.ending = null;
    /** Servers that take no new connections. @type {Set<any>} */
    this.servers = new Set();
    /** Servers closed by drover and not by the program. @type {WeakSet<object>} */
    this.closed = new WeakSet();
    /** Servers that have emitted 'close'. @type {WeakSet<object>} */
    this.ended = new WeakSet();
    /** Keeps the process alive until only the event loop remains to be waited for. @type {NodeJS.Timeout | undefined} */
    this.alive = undefined;
  }

  /** Drains at the program's request; the primary will replace this worker. @returns {Promise<void>} */
  leave() {
    // A hook that requests the drain is part of it and must not wait for itself.
    if (this.hooks?.getStore() === true) return Promise.resolve();
    if (!this.begun) addon.workerLeaving(this.worker.signals.signalled);
    return this.run();
  }

  /** Drains at the primary's request, then exits. @param {{ deadlineMs: number, handoff: boolean, signal: NodeJS.Signals | null }} how */
  begin({ deadlineMs, handoff, signal }) {
    this.handoff = handoff;
    if (this.begun) return;
    this.isSignalled = signal !== null;
    // The program's handlers need time too, even if requests are still pending.
    const { inner, signals } = this.worker;
    const half = () => {
      signals.call(signal);
      if (inner.isLeaving) inner.end('SIGTERM');
    };
    setTimeout(half, Math.min(deadlineMs / 2, MAX_DELAY)).unref();
    // A program that uses node:cluster itself waits for its processes in its handlers.
    if (!inner.isEmpty) signals.call(signal);
    this.run().then(() => {
      this.worker.signals.call(signal);
      // Not returned: otherwise this wait would count as pending work of the handlers.
      void this.end();
    });
  }

  /** The primary was killed: drains within a short time, then exits. @param {number} grace milliseconds */
  hurry(grace) {
    if (this.begun) return;
    this.begin({ deadlineMs: grace, handoff: false, signal: null });
    setTimeout(() => process.exit(), grace);
  }

  /** The deadline has passed: destroys open connections, so that a program that waits for them can continue. */
  cut() {
    this.timeIsUp = true;
    this.endTime();
    this.servers.forEach(closeWebSockets);
    setImmediate(() => this.#sockets().forEach((socket) => socket.destroy()));
  }

  /**
   * Stops taking connections; resolves when the last request is answered (or the deadline has passed), the hooks have
   * run and the promises of waitUntil have settled.
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
    // Other workers read the queued datagrams; those that this worker has read it still answers.
    this.worker.datagrams?.stopReading();
    // Connections sent by the primary that the loop has not read yet still belong to this worker.
    addon.workerTakeWhatWaits();
    // Servers that the program is already closing may still have responses to send.
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

  /** Whether work of the program is pending that it is given time for. */
  get #isBusy() {
    return this.worker.signals.work.isPending || isWaiting();
  }

  /**
   * Whether nothing remains that is worth waiting for: a signal stops a program that handles no signal, and no work of its
   * requests is pending.
   */
  get #isDone() {
    if (!this.isSignalled || this.worker.signals.isHandled || this.#sockets().length > 0) return false;
    return this.idleTime >= this.worker.hello.config.processManagement.lingerTimeout || this.worker.aftermath.isOver;
  }

  /**
   * Exits as soon as the work of the program's handlers is done and the event loop is empty, which Node reports by
   * 'beforeExit'; work that its listeners begin is waited for too.
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
    // A request that came before the drain may have opened one since.
    for (const server of this.worker.connections.servers()) this.servers.add(server);
    const isNamed = (/** @type {any} */ server) => this.#isNamed(server);
    const isFree = () => {
      // Where an empty event loop is all that tells of the end of work, servers must not keep it alive. Their connections do,
      // as long as the server does.
      if (!runtime.seesWork) for (const server of this.servers) if (!isNamed(server) && !hasSockets(server)) server.unref?.();
      return !this.#isBusy;
    };
    await Promise.race([this.#until(isFree), emptied()]);
    // Handlers may have added hooks.
    await runHooks();
    const since = performance.now();
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
    // With an empty event loop the process exits on its own, unless listeners of 'beforeExit' begin work.
    const isEmpty = await Promise.race([lingered.then(() => false), emptied().then(() => true)]);
    if (isEmpty) await this.over;
    if (!this.#isDone) this.reportWhatIsLeft(Math.round(performance.now() - since));
    this.servers.forEach(closeWebSockets);
    if (!isEmpty) work.run(() => process.emit('beforeExit', Number(process.exitCode ?? 0)));
    await this.#until(() => !this.#isBusy);
    process.exit();
  }

  /** Reports the resources in an event loop that does not become empty. @param {number} waited milliseconds */
  reportWhatIsLeft(waited) {
    const left = runtime.seesResources ? resources() : UNNAMED;
    if (Object.keys(left).length > 0) addon.workerLingered(left, this.timeIsUp ? null : waited);
  }

  /** Resolves when `isSo` returns true. Does not keep the process alive. @param {() => boolean} isSo @returns {Promise<void>} */
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

  /** Whether every request is answered; event streams and upgraded connections have no end and do not count. */
  #isAnswered() {
    const { virtualListeners } = this.worker;
    for (const server of this.servers) {
      if (virtualListeners !== null && !virtualListeners.isAnswered(server)) return false;
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
   * Whether the program opened the server after its start, for a protocol other than HTTP: it may have announced the port
   * to clients on another connection, as FTP's passive mode does, and no other worker serves them.
   *
   * @param {any} server
   */
  #isNamed(server) {
    const isLate = this.worker.connections.shareOf(server)?.isLate ?? false;
    return isLate && protocolOf(server) === '';
  }

  /**
   * Closes servers that the program has not closed itself; its 'close' listeners may begin work.
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

  /** Whether the server has emitted 'close'. @param {any} server */
  isClosed(server) {
    return this.ended.has(server);
  }

  /** The open connections of the servers. */
  #sockets() {
    return runtime.socketsOf((server) => this.servers.has(server));
  }
}

/** Whether the server has open connections. @param {any} server */
function hasSockets(server) {
  return runtime.socketsOf((one) => one === server).length > 0 || runtime.ownWebSocketsOf(server).length > 0;
}

/** Resolves when the event loop is empty. @returns {Promise<void>} */
function emptied() {
  return new Promise((resolve) => process.prependOnceListener('beforeExit', () => resolve()));
}

module.exports = { Drain };
