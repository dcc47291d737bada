// @ts-check
'use strict';

// `app.fleet`: the machines that run this program, joined by Redis. Without `redis` in the configuration this machine is
// all of it.

const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { version } = require('../../package.json');
const { addon } = require('../native');
const { ClusterError, unwrap } = require('../errors');
const { Connection, operation } = require('./connection');

/**
 * @typedef {object} Member a machine
 * @property {string} id
 * @property {string} host
 * @property {number} pid of its primary
 * @property {string} script
 * @property {string} version
 * @property {number} startedAt
 * @property {any} figures
 */

/** What a task of `runOnce` in the whole fleet gets. @typedef {{ token: number, signal: AbortSignal }} Lead */

class Fleet extends EventEmitter {
  /** @type {Connection | null} */
  #connection = null;
  /** @type {import('./connection').State} */
  #state = { id: '', isAvailable: false, token: null, until: 0 };
  #isLocalLeader;
  #open;
  #close;
  #hasLeft = false;
  /** Aborted when this machine no longer leads. @type {AbortController | null} */
  #lead = null;
  /** @type {NodeJS.Timeout | undefined} */
  #leadEnds;

  /**
   * @param {object} made
   * @param {(into: object, deliver: (...values: any[]) => void) => any} made.open
   * @param {() => void} [made.close] leaves the fleet
   * @param {() => boolean} made.isLocalLeader whether this process is the one of its machine that leads
   * @param {any} made.config the options in `redis`
   */
  constructor({ open, close = () => {}, isLocalLeader, config }) {
    super();
    this.#open = open;
    this.#close = close;
    this.#isLocalLeader = isLocalLeader;
    this.config = config;
    /**
     * Handles a message of another machine.
     *
     * @type {(number: number, message: { machine: string, kind: string, format: number, body: Buffer }) => void}
     */
    this.receive = () => {};
  }

  /** Of this machine, in the fleet; '' before it was joined. */
  get id() {
    return this.#state.id;
  }

  /** Redis does what is asked. */
  get isAvailable() {
    return this.#state.isAvailable;
  }

  /** Whether this process leads the fleet: that of its workers which leads in the machine that leads. */
  get isLeader() {
    this.#look();
    return this.#leads() && this.#isLocalLeader();
  }

  /** The fencing token; null if this machine does not lead. @returns {number | null} */
  get token() {
    this.#look();
    return this.#leads() ? this.#state.token : null;
  }

  #leads() {
    return this.#state.token !== null && addon.monotonicMs() < this.#state.until;
  }

  /** The machines of the fleet. @returns {Promise<Member[]>} */
  async members() {
    const [[members]] = await this.connect().ask(operation.MEMBERS, []);
    return JSON.parse(members.toString());
  }

  /** Joins the fleet for a look at it. */
  #look() {
    try {
      this.connect();
    } catch {
      // A process whose cluster or primary has ended cannot join: it leads nothing, and what it asks fails.
    }
  }

  /** Joins the fleet, also after it was left. */
  join() {
    this.#hasLeft = false;
    this.connect();
  }

  /** The cluster's health, with the fleet's. @param {any} health */
  withHealth(health) {
    return { ...health, fleet: { available: this.isAvailable } };
  }

  /** Joins the fleet at the first use. */
  connect() {
    if (this.#hasLeft) throw new ClusterError('The fleet was left, because the cluster has stopped', 'STOPPED');
    if (this.#connection !== null && !this.#connection.isClosed) return this.#connection;
    this.#connection = new Connection(this.#open, {
      changed: (state) => this.#changed(state),
      received: (number, message) => this.receive(number, message),
      member: (hasJoined, member) => void this.emit(hasJoined ? 'joined' : 'left', member),
      closed: () => this.#changed({ ...this.#state, isAvailable: false, token: null, until: 0 }),
    });
    return this.#connection;
  }

  /** Leaves the fleet; returns when that is done. */
  close() {
    this.#hasLeft = true;
    this.#close();
    this.#changed({ ...this.#state, isAvailable: false, token: null, until: 0 });
  }

  /** @param {import('./connection').State} state */
  #changed(state) {
    const before = this.#state;
    this.#state = state;
    if (before.isAvailable !== state.isAvailable) this.emit(state.isAvailable ? 'available' : 'unavailable');
    if (before.token !== state.token) {
      this.#lead?.abort();
      this.#lead = null;
      this.emit('leader', { isLeader: state.token !== null, token: state.token });
    }
    this.#watchLead();
  }

  /** A lease that is not renewed ends by itself, though nobody says so. */
  #watchLead() {
    clearTimeout(this.#leadEnds);
    if (this.#lead === null) return;
    this.#leadEnds = setTimeout(() => {
      this.#lead?.abort();
      this.#lead = null;
    }, Math.max(this.#state.until - addon.monotonicMs(), 0));
    this.#leadEnds.unref();
  }

  /**
   * For a task that only the leader does; null if this machine does not lead.
   *
   * @returns {Promise<Lead | null>}
   */
  async lead() {
    const [[token]] = await this.connect().ask(operation.LEADER, []);
    if (token === undefined || !this.#leads()) return null;
    if (this.#lead === null) {
      this.#lead = new AbortController();
      this.#watchLead();
    }
    return { token: Number(token), signal: this.#lead.signal };
  }

  /**
   * Sends a message to the workers of all other machines; resolves to their answers.
   *
   * @param {string} kind
   * @param {{ format: number, body: string | Buffer }} content
   * @param {number} timeout milliseconds
   * @returns {Promise<{ machine: string, workerId: string, isAnswer: boolean, format: number, body: Buffer }[]>}
   */
  async broadcast(kind, { format, body }, timeout) {
    const answers = await this.connect().ask(operation.BROADCAST, [kind, String(format), String(timeout), body]);
    return answers
      .filter((parts) => parts.length > 0)
      .map(([machine, workerId, isAnswer, bodyFormat, answer]) => ({
        machine: machine.toString(),
        workerId: workerId.toString(),
        isAnswer: isAnswer.toString() === '1',
        format: Number(bodyFormat),
        body: answer,
      }));
  }

  /** @param {number} number @param {boolean} isAnswer @param {number} format @param {string | Buffer} body */
  answer(number, isAnswer, format, body) {
    if (this.#connection !== null && !this.#connection.isClosed) this.#connection.answer(number, isAnswer, format, body);
  }

  /**
   * Invalidates in the caches of all other machines. Resolves when that was published; without Redis it is told when that
   * is back.
   *
   * @param {'pattern' | 'key' | 'tag'} what
   * @param {string} text
   */
  async invalidate(what, text) {
    await this.connect().ask(operation.INVALIDATE, [Buffer.of(['pattern', 'key', 'tag'].indexOf(what)), text]);
  }

  /** A namespace of the cache that is this machine's alone. @param {string} prefix */
  keepLocal(prefix) {
    // It fails with the end of the fleet alone.
    this.connect().ask(operation.LOCAL, [prefix]).catch(() => {});
  }

  // Values in Redis: a space, and a name in it.

  /** @param {string} space @param {string} name @returns {Promise<{ version: string, value: Buffer } | undefined>} */
  async load(space, name) {
    const [[version, value]] = await this.connect().ask(operation.LOAD, [space, name]);
    return version === undefined ? undefined : { version: version.toString(), value };
  }

  /**
   * Resolves to the new version; undefined: another one than `expected` is there.
   *
   * @param {string} space
   * @param {string} name
   * @param {string | Buffer} value
   * @param {number} life milliseconds; 0: for any time
   * @param {string} [expected] the version that is replaced; '': any; '0': none
   */
  async store(space, name, value, life, expected = '') {
    const [[done, version]] = await this.connect().ask(operation.STORE, [space, name, value, String(Math.ceil(life)), expected]);
    return done.toString() === '1' ? version.toString() : undefined;
  }

  /** Whether it was there. @param {string} space @param {string} name */
  async remove(space, name) {
    const [[count]] = await this.connect().ask(operation.REMOVE, [space, name]);
    return count.toString() === '1';
  }

  /** @param {string} space @returns {Promise<{ name: string, version: string, value: Buffer }[]>} */
  async list(space) {
    const all = await this.connect().ask(operation.LIST, [space]);
    return all.filter((parts) => parts.length > 0).map(([name, version, value]) => ({ name: name.toString(), version: version.toString(), value }));
  }

  /** @param {string} space */
  async clear(space) {
    await this.connect().ask(operation.CLEAR, [space]);
  }

  /**
   * Adds to a counter; `left`: milliseconds of its life, -1: any.
   *
   * @param {string} space
   * @param {string} name
   * @param {number} by
   * @param {number} life of a new counter, milliseconds; 0: for any time
   */
  async count(space, name, by, life) {
    const [[count, left]] = await this.connect().ask(operation.COUNT, [space, name, String(by), String(Math.ceil(life))]);
    return { count: Number(count), left: Number(left) };
  }

  /** @param {string} space @param {string} name */
  async peek(space, name) {
    const [[count, left]] = await this.connect().ask(operation.PEEK, [space, name]);
    return count === undefined ? undefined : { count: Number(count), left: Number(left) };
  }

  /** @param {string} space @param {string} name @param {number} count @param {number} life milliseconds; 0: for any time */
  async assign(space, name, count, life) {
    await this.connect().ask(operation.ASSIGN, [space, name, String(count), String(Math.ceil(life))]);
  }

  /** Takes one from a counter above 0. @param {string} space @param {string} name */
  async take(space, name) {
    await this.connect().ask(operation.TAKE, [space, name]);
  }
}

/** A fleet of this machine alone, which needs no Redis. */
class FleetOfOne extends EventEmitter {
  #isLocalLeader;

  /** @param {() => boolean} isLocalLeader */
  constructor(isLocalLeader) {
    super();
    this.#isLocalLeader = isLocalLeader;
  }

  get id() {
    return 'local';
  }

  get isAvailable() {
    return true;
  }

  get isLeader() {
    return this.#isLocalLeader();
  }

  get token() {
    return 0;
  }

  async members() {
    const { script } = programOf();
    return [{ id: this.id, host: os.hostname(), pid: process.pid, script, version, startedAt: Math.round(performance.timeOrigin), figures: null }];
  }

  /** @param {any} health */
  withHealth(health) {
    return health;
  }

  /** @returns {Promise<Lead | null>} */
  async lead() {
    return { token: 0, signal: new AbortController().signal };
  }
}

/** The program's name: that in its package.json, else that of its folder. */
function programOf() {
  const script = process.argv[1] ?? process.cwd();
  for (let folder = path.dirname(script); ; folder = path.dirname(folder)) {
    const found = packageIn(folder);
    if (found !== undefined) return { name: found, script: path.basename(script) };
    if (folder === path.dirname(folder)) return { name: path.basename(path.dirname(script)), script: path.basename(script) };
  }
}

/** @param {string} folder @returns {string | undefined} */
function packageIn(folder) {
  try {
    const { name } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
    return typeof name === 'string' && name !== '' ? name : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The fleet of a process that has its thread: a primary, or a process without a cluster. `native` is null without `redis`.
 *
 * @param {any} configuration of the core
 * @param {any} core the core's cache
 * @param {{ config: any, isLocalLeader: () => boolean, receives: boolean }} made `config`: the options in `redis`
 * @returns {{ native: any, fleet: any }}
 */
function fleetOf(configuration, core, { config, isLocalLeader, receives }) {
  if (!config?.enabled) return { native: null, fleet: new FleetOfOne(isLocalLeader) };
  const { name, script } = programOf();
  const native = new addon.Fleet(configuration, core, script, name);
  if (native.refusal !== null) unwrap({ error: native.refusal });
  const open = (/** @type {any} */ into, /** @type {any} */ deliver) => native.open(into, deliver, receives);
  return { native, fleet: new Fleet({ open, close: () => native.close(), isLocalLeader, config }) };
}

exports.Fleet = Fleet;
exports.FleetOfOne = FleetOfOne;
exports.fleetOf = fleetOf;
