// @ts-check
'use strict';

// The worker's side in JavaScript: what the primary says is done, and what Node lacks for it is put in place
// (shared listeners, process.send for readiness, signals that wait for the primary's word).

const { addon } = require('../native');
const { heldWorker, hold } = require('../process/copies');
const { ClusterError, fromCore, rethrow } = require('../errors');
const { CLOSED } = require('../metrics/cells');
const { Checks } = require('./health-checks');
const { departureOf } = require('../http/graceful-close');
const { Drain } = require('./drain');
const { follow } = require('../http/shutdown-notice');
const { giveIdle, giveOne } = require('../http/handoff');
const { InnerCluster } = require('./inner-cluster');
const { Leadership } = require('../process/leadership');
const { Mailbox } = require('../messages/endpoint');
const { Registry, homeOf } = require('../metrics/registry');
const { retryOf } = require('../retry');
const { WorkerSignals } = require('./worker-signals');

const NOTICE_DRAIN = 1;
const NOTICE_GOODBYE = 2;
const NOTICE_GONE = 3;
const NOTICE_TIME_UP = 4;
const NOTICE_ORDERED = 5;
const NOTICE_UNREADY = 7;
const NOTICE_ASKED = 8;
const NOTICE_LEAD = 9;
const NOTICE_EVENT = 10;
const NOTICE_CHECK = 11;
const NOTICE_DIAGNOSE = 12;
const NOTICE_CLOSE_SERVER = 13;
const NOTICE_LATE = 14;

/** Connections that were asked for and are all busy may come so much later, milliseconds. */
const OWED_FOR = 1000;

/** After the primary was killed: time for what is nearly done. Its orphans are gone within two seconds. */
const GRACE_AFTER_DEATH = 1000;

/** @type {Worker | null} */
let current = null;

/** The worker that this process is, or null. */
function worker() {
  return current ?? heldWorker();
}

class Worker {
  /** @param {any} welcome */
  constructor(welcome) {
    this.welcome = welcome;
    this.id = String(welcome.slot);
    /** The doors of this worker's servers, by listener group. @type {Map<number, import('./listener-share').Door>} */
    this.doors = new Map();
    /** Servers that listen by themselves, on sockets of this process's own. @type {Set<any>} */
    this.private = new Set();
    this.drain = new Drain(this);
    /** The hooks that its drain runs, whichever copy of this module a program has. */
    this.shutdown = require('../process/shutdown-hooks');
    this.checks = new Checks(this);
    this.signals = new WorkerSignals(this);
    /** What the program makes with node:cluster. */
    this.inner = new InnerCluster(this);
    /** The datagram sockets that it shares. @type {ReturnType<typeof import('./datagram-sockets').share> | undefined} */
    this.datagrams = undefined;
    /** How many HTTP servers close while others serve on, and which. */
    this.departing = 0;
    /** @type {Set<any>} */
    this.closing = new Set();
    /** Connections that others were to have, and that were not idle. */
    this.owed = 0;
    this.owedUntil = 0;
    /** A stop is announced: everything still serves. */
    this.isUnready = false;
    /** The primary has said goodbye or is gone. */
    this.orphaned = false;
    this.said = new Set();
    /** Orders to the cluster that are not settled. @type {Map<number, { resolve: (slots: number[]) => void, reject: (error: Error) => void }>} */
    this.orders = new Map();
    this.lastOrder = 0;
    /** Managers whose program listens to events. @type {Set<{ hear(event: any): void }>} */
    this.followers = new Set();
    /** Counts the requests of an HTTP/2 server. @type {(server: any) => void} */
    this.countStreams = () => {};
    /** The program's own metrics. */
    this.registry = new Registry(() => homeOf(addon.workerMeters(), (text) => this.hint(text)));
    this.leadership = new Leadership({
      isLeader: false,
      settled: () => this.order('leader', null),
      resigned: addon.workerResigned,
    });
    this.mailbox = new Mailbox({
      wire: {
        post: addon.workerPost,
        error: addon.postError,
        name: addon.workerName,
        targets: addon.workerTargets,
      },
      listeners: {
        count: () => process.listenerCount('message'),
        emit: (message) => process.emit('message', message, undefined),
      },
      advanced: welcome.messages.advanced,
      isPrimary: false,
      workerId: this.id,
      retry: retryOf(welcome.config),
    });
    const shared = { cells: new ArrayBuffer(0), hands: new ArrayBuffer(0), tickets: new ArrayBuffer(0) };
    const failed = addon.startWorker(
      shared,
      (/** @type {number} */ group, /** @type {number} */ count) => this.take(group, count),
      (/** @type {number} */ kind, /** @type {number} */ number) => this.heed(kind, number),
      this.mailbox.deliver.bind(this.mailbox),
    ).error;
    if (failed) throw new ClusterError(failed.message, failed.code, failed.details);
    /** This worker's numbers, which everybody reads. */
    this.cells = new Float64Array(shared.cells);
    /** The keys of TLS session tickets: see lib/worker/tls-tickets.js. */
    this.tickets = shared.tickets;
    /** A batch of connections, four elements each: descriptor, time to be silent, requests so far, 1 for a lent one. */
    this.hands = new Int32Array(shared.hands);
  }

  /**
   * Adopts a batch of connections. A listener that throws is Node's 'uncaughtException' as ever, and the other
   * connections of the batch are not harmed.
   *
   * @param {number} group
   * @param {number} count
   */
  take(group, count) {
    const door = this.doors.get(group);
    const { hands } = this;
    if (door !== undefined) door.isTaking = true;
    for (let index = 0; index < count; index++) {
      const fd = hands[index * 4];
      if (door === undefined) {
        addon.closeDescriptor(fd);
        this.cells[CLOSED] += 1;
        continue;
      }
      try {
        door.adopt(fd, hands[index * 4 + 1], hands[index * 4 + 2], hands[index * 4 + 3] === 1);
      } catch (error) {
        process.nextTick(rethrow, error);
      }
    }
    if (door === undefined) return;
    door.isTaking = false;
    door.account();
    if (door.credit !== null) door.tellRoom();
  }

  /**
   * The primary said something. The deadline of a drain is the primary's (and the kernel's) to hold.
   *
   * @param {number} kind
   * @param {number} number
   */
  heed(kind, number) {
    if (kind === NOTICE_ORDERED) return this.settle(number);
    if (kind === NOTICE_ASKED) return this.share(number);
    if (kind === NOTICE_LEAD) return void this.leadership.follow(number === 1);
    if (kind === NOTICE_EVENT) return this.relay();
    if (kind === NOTICE_CHECK) return this.checks.begin();
    if (kind === NOTICE_DIAGNOSE) return require('./diagnostics').diagnose();
    if (kind === NOTICE_CLOSE_SERVER) return void this.doors.get(number)?.server.close();
    if (kind === NOTICE_LATE) return require('./startup-hint').hint(this, number);
    if (kind === NOTICE_UNREADY) this.isUnready = true;
    if (kind === NOTICE_DRAIN) this.drain.begin(addon.workerDrain());
    else if (kind === NOTICE_TIME_UP) this.drain.cut();
    if (kind !== NOTICE_GOODBYE && kind !== NOTICE_GONE) return;
    this.orphan();
    this.drain.handoff = false;
    if (kind === NOTICE_GOODBYE) this.drain.begin({ deadlineMs: number, handoff: false, signal: null });
    else this.drain.hurry(GRACE_AFTER_DEATH);
  }

  /** Without its primary this process leads nobody, and a message goes nowhere. */
  orphan() {
    if (this.orphaned) return;
    this.orphaned = true;
    this.leadership.isLeader = false;
    if (!process.connected) return;
    require('./process-send').disconnected();
    process.nextTick(() => process.emit('disconnect'));
  }

  /** Events of the cluster, for those who listen in this process. */
  relay() {
    for (let told = addon.workerEvent(); told !== null; told = addon.workerEvent()) {
      for (const manager of this.followers) manager.hear({ ...told.event, timestamp: told.timestamp });
    }
  }

  /** @param {{ hear(event: any): void }} manager @param {boolean} follows */
  follow(manager, follows) {
    const before = this.followers.size;
    if (follows) this.followers.add(manager);
    else this.followers.delete(manager);
    if ((before > 0) !== this.followers.size > 0) addon.workerFollow(follows);
  }

  /**
   * Asks the primary for a share of an address. Waits for the answer: the primary's Rust side gives it in
   * microseconds, and `server.address()` is right as soon as `listen` returns, as without drover.
   *
   * @param {object} address
   * @param {number} backlog
   * @param {{ mode?: number, before?: number, lived_ms?: number | null }} [more]
   * @returns {{ group: number, host: string | null, port: number, fd: number, errno?: number }}
   */
  listen(address, backlog, more) {
    const answer = addon.workerListen(address, { backlog, ...more });
    this.readMailLater();
    return answer;
  }

  /**
   * Asks the cluster to become something else.
   *
   * @param {string} verb
   * @param {any} argument
   * @returns {Promise<number[]>} the slots that serve because of it
   */
  order(verb, argument) {
    this.lastOrder += 1;
    const id = this.lastOrder;
    return new Promise((resolve, reject) => {
      const { error } = addon.workerOrder(id, verb, argument ?? null);
      if (error) reject(fromCore(error));
      else this.orders.set(id, { resolve, reject });
    });
  }

  /** @param {number} id */
  settle(id) {
    const { ok, error } = addon.workerOrdered(id);
    const order = this.orders.get(id);
    this.orders.delete(id);
    if (error) order?.reject(fromCore(error));
    else order?.resolve(ok);
  }

  /** @param {import('./listener-share').Door} door @param {boolean} plainHttp */
  serve(door, plainHttp) {
    departureOf(door.server)?.end();
    this.doors.set(door.group, door);
    addon.workerServe(door.group, plainHttp);
    this.checks.follow();
  }

  /**
   * A server listens on a handle that is this process's own, or on that of another server's door, which is its
   * from now on.
   *
   * @param {any} server
   * @param {import('./listener-share').Door} [door]
   */
  serveAlone(server, door) {
    if (door !== undefined) {
      door.enter(server);
    } else if (!this.private.has(server)) {
      this.private.add(server);
      server.once('close', () => this.private.delete(server));
      follow(server);
      this.countStreams(server);
    }
    this.checks.follow();
    if (this.welcome.ready === 'listen') addon.workerReady();
  }

  /** Every server of this process that listens, the primary's listener behind it or not. @returns {any[]} */
  servers() {
    const shared = [...this.doors.values()].map((door) => door.server);
    return [...shared, ...[...this.private].filter((server) => server.listening)];
  }

  /** @param {any} handle */
  doorWith(handle) {
    for (const door of this.doors.values()) if (door.handle === handle) return door;
    return undefined;
  }

  /** @param {import('./listener-share').Door} door */
  close(door) {
    if (this.doors.get(door.group) !== door) return;
    door.isServedByOthers = addon.workerClose(door.group);
    this.doors.delete(door.group);
    this.checks.follow();
    this.readMailLater();
  }

  /** @param {any} server @returns {import('./listener-share').Door | undefined} */
  doorOf(server) {
    for (const door of this.doors.values()) if (door.server === server) return door;
    return undefined;
  }

  /** Gives idle connections to lighter workers, and busy ones when their response is done. @param {number} most */
  share(most) {
    for (const { server, group } of this.doors.values()) most -= giveIdle(server, group, most);
    this.owed = most;
    this.owedUntil = performance.now() + OWED_FOR;
  }

  /** A response on this connection was done while others were to have some. @param {any} socket */
  giveOwed(socket) {
    if (performance.now() > this.owedUntil) this.owed = 0;
    const door = this.owed > 0 ? this.doorOf(socket.server) : undefined;
    if (door !== undefined && giveOne(door.server, door.group, socket)) this.owed -= 1;
  }

  /**
   * Gives a lent connection back, now that its response is done: its next request may belong to another worker.
   *
   * @param {any} socket
   * @param {any} response
   */
  giveBack(socket, response) {
    if (!this.canHandOver()) return;
    // The response is still on its way to a slow reader.
    if (socket._httpMessage === response) {
      response.once('finish', () => setImmediate(() => this.giveBack(socket, response)));
      return;
    }
    const door = this.doorOf(socket.server);
    if (door !== undefined) giveOne(door.server, door.group, socket);
  }

  /** Whether connections may go to other workers now. */
  canHandOver() {
    return this.welcome.handoff && this.drain.handoff;
  }

  /** What the primary said while an answer was waited for must not lie until its next word. */
  readMailLater() {
    if (addon.workerHasMail()) setImmediate(addon.workerReadMail);
  }

  /**
   * Something the operator should know, said once a cluster.
   *
   * @param {string} text
   * @param {boolean} [warns] something is not as it should be
   */
  hint(text, warns = true) {
    if (this.said.has(text)) return;
    this.said.add(text);
    addon.workerHint(text, warns);
  }
}

/**
 * Calls back when the script has run to its end, an ES module's top-level await included. Importing it again waits for
 * that and runs nothing twice.
 *
 * @param {() => void} act
 */
function whenLoaded(act) {
  setImmediate(() => {
    const { pathToFileURL } = require('node:url');
    // What only a CommonJS hook understands (a TypeScript runner's) cannot be imported, and has run by now. A
    // script that throws ends the process by itself.
    const run = () => process.mainModule?.loaded && act();
    import(pathToFileURL(scriptFile()).href).then(act, run);
  });
}

/** The running script may be named without its extension. */
function scriptFile() {
  const file = require('node:path').resolve(process.argv[1]);
  try {
    return require.resolve(file);
  } catch {
    return file;
  }
}

/**
 * Makes this process a worker of the primary with this pid, if it is one.
 *
 * @param {number} primary
 * @param {() => any} loadPackage what the package gives to programs; null while that is being made
 */
function attach(primary, loadPackage) {
  const { ok: welcome, error } = addon.attachWorker(primary);
  if (error) throw new ClusterError(`This worker could not attach to its primary: ${error.message}`, error.code);
  if (!welcome) return;
  current = new Worker(welcome);
  hold(current, loadPackage);
  process.title = welcome.title;
  require('./listen').share(current);
  current.datagrams = require('./datagram-sockets').share(current, whenLoaded);
  require('./tls-tickets').shareTickets(current.tickets);
  require('../http/requests').count(current);
  require('../http/response-headers').addLines(current);
  require('../http/last-response').joinLastPackets();
  require('./max-connections').followLimits(current);
  require('../http/graceful-close').departInOrder(current);
  require('./server-close').closeAsAlone(current);
  current.signals.listen();
  current.inner.follow();
  if (welcome.traced) require('../runtime/node/stack').answerForHangs();
  require('./startup-output').followOutput(current);
  if (welcome.captured) require('../http/request-ids').markLines();
  if (welcome.request_ids) require('../http/request-ids').identifyRequests();
  require('./process-send').provide(current);
  require('./uncaught-errors').report(current);
  // A script that serves nothing is ready when it is loaded.
  if (welcome.ready === 'boot') whenLoaded(addon.workerReady);
  // What came with the welcome is read already and would lie there until the primary's next word: that it leads, or an
  // order to drain, when the cluster stops while its workers start.
  setImmediate(addon.workerReadMail);
}

exports.Worker = Worker;
exports.attach = attach;
exports.worker = worker;
