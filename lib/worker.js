// @ts-check
'use strict';

// The worker's side in JavaScript: what the primary says is done, and what Node lacks for it is put in place
// (shared listeners, process.send for readiness, signals that wait for the primary's word).

const { addon } = require('./native');
const { ClusterError, notSupported } = require('./errors');
const { Drain } = require('./drain');

const NOTICE_DRAIN = 1;
const NOTICE_GOODBYE = 2;
const NOTICE_GONE = 3;
const NOTICE_TIME_UP = 4;

/** After the primary was killed: time for what is nearly done. Its orphans are gone within two seconds. */
const GRACE_AFTER_DEATH = 1000;

/** @type {Worker | null} */
let current = null;

/** The worker that this process is, or null. */
function worker() {
  return current;
}

class Worker {
  /** @param {any} welcome */
  constructor(welcome) {
    this.welcome = welcome;
    this.id = String(welcome.slot);
    /** The doors of this worker's servers, by listener group. @type {Map<number, import('./door').Door>} */
    this.doors = new Map();
    this.drain = new Drain(this);
    /** The primary has said goodbye or is gone. */
    this.orphaned = false;
    this.said = new Set();
    const shared = { cells: new ArrayBuffer(0), hands: new ArrayBuffer(0) };
    const failed = addon.startWorker(
      shared,
      (/** @type {number} */ group, /** @type {number} */ count) => this.take(group, count),
      (/** @type {number} */ kind) => this.heed(kind),
    ).error;
    if (failed) throw new ClusterError(failed.message, failed.code, failed.details);
    /** This worker's numbers, which everybody reads. */
    this.cells = new Float64Array(shared.cells);
    /** A batch of descriptors: one in every second element. */
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
    for (let index = 0; index < count; index++) {
      const fd = hands[index * 2];
      if (door === undefined) {
        addon.closeDescriptor(fd);
        this.cells[8] += 1;
        continue;
      }
      try {
        door.adopt(fd);
      } catch (error) {
        process.nextTick(rethrow, error);
      }
    }
    door?.account();
  }

  /**
   * The primary said something. The deadline of a drain is the primary's (and the kernel's) to hold.
   *
   * @param {number} kind
   */
  heed(kind) {
    if (kind === NOTICE_GOODBYE || kind === NOTICE_GONE) this.orphaned = true;
    if (kind === NOTICE_DRAIN || kind === NOTICE_GOODBYE) this.drain.begin();
    else if (kind === NOTICE_TIME_UP) this.drain.cut();
    else if (kind === NOTICE_GONE) this.drain.hurry(GRACE_AFTER_DEATH);
  }

  /**
   * Asks the primary for a share of an address. Waits for the answer: the primary's Rust side gives it in
   * microseconds, and `server.address()` is right as soon as `listen` returns, as without drover.
   *
   * @param {object} address
   * @param {number} backlog
   * @returns {{ group: number, host: string | null, port: number, fd: number, errno?: number }}
   */
  listen(address, backlog) {
    const answer = addon.workerListen(address, backlog);
    this.readMailLater();
    return answer;
  }

  /** @param {import('./door').Door} door @param {boolean} plainHttp */
  serve(door, plainHttp) {
    this.doors.set(door.group, door);
    addon.workerServe(door.group, plainHttp);
  }

  /** @param {import('./door').Door} door */
  close(door) {
    if (this.doors.get(door.group) !== door) return;
    addon.workerClose(door.group);
    this.doors.delete(door.group);
    this.readMailLater();
  }

  /** What the primary said while an answer was waited for must not lie until its next word. */
  readMailLater() {
    if (addon.workerHasMail()) setImmediate(addon.workerReadMail);
  }

  /**
   * Something the operator should know, said once a cluster.
   *
   * @param {string} text
   */
  hint(text) {
    if (this.said.has(text)) return;
    this.said.add(text);
    addon.workerHint(text);
  }
}

/** @param {unknown} error */
function rethrow(error) {
  throw error;
}

/** PM2's and Node's way to say "ready"; other messages come with a later version. */
function provideSend() {
  /** @type {any} */
  const own = process;
  own.connected = true;
  own.send = function send(/** @type {any} */ message, /** @type {any[]} */ ...rest) {
    const callback = rest.find((value) => typeof value === 'function');
    if (message !== 'ready') {
      const error = notSupported('messages between processes; process.send takes "ready" alone');
      if (callback === undefined) throw error;
      process.nextTick(callback, error);
      return false;
    }
    if (current?.welcome.ready === 'message') addon.workerReady();
    if (callback !== undefined) process.nextTick(callback, null);
    return true;
  };
}

/** Tells the primary why this process is about to end. */
function reportUncaught() {
  process.on('uncaughtExceptionMonitor', (/** @type {any} */ error) => {
    const isError = error instanceof Error;
    addon.workerFailed({
      name: isError ? error.name : 'Error',
      message: isError ? error.message : String(error),
      code: isError && 'code' in error && error.code !== undefined ? String(error.code) : null,
      stack: isError ? (error.stack ?? null) : null,
    });
  });
}

/**
 * A script that serves nothing is ready when it has run to its end, an ES module's top-level await included.
 * Importing it again waits for that and runs nothing twice.
 */
function readyWhenLoaded() {
  setImmediate(() => {
    const { pathToFileURL } = require('node:url');
    // What only a CommonJS hook understands (a TypeScript runner's) cannot be imported, and has run by now. A
    // script that throws ends the process by itself.
    const run = () => process.mainModule?.loaded && addon.workerReady();
    import(pathToFileURL(scriptFile()).href).then(addon.workerReady, run);
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
 */
function attach(primary) {
  const { ok: welcome, error } = addon.attachWorker(primary);
  if (error) throw new ClusterError(`This worker could not attach to its primary: ${error.message}`, error.code);
  if (!welcome) return;
  current = new Worker(welcome);
  process.title = welcome.title;
  require('./listen').share(current);
  require('./datagram').share(current);
  require('./requests').count(current);
  require('./idle').spareNewcomers();
  require('./signals').waitForPrimary(current);
  provideSend();
  reportUncaught();
  if (welcome.ready === 'boot') readyWhenLoaded();
}

exports.Worker = Worker;
exports.attach = attach;
exports.worker = worker;
