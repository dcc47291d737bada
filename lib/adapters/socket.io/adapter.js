// @ts-check
'use strict';

// The adapter of a namespace: messages between workers, and with connection state recovery the log in the shared cache,
// which every adapter reads in its order.

const { Adapter, ClusterAdapterWithHeartbeat, MessageType } = require('socket.io-adapter');
const { localCacheOf } = require('../source');
const { hubOf } = require('./hub');
const { Log, pack } = require('./log');
const { Sessions, isAfter, isFor, missedSince, offsetOf, readOffset } = require('./recovery');

/** How often the log is looked at without a message; workers that are being replaced get none. Milliseconds. */
const LOOK_INTERVAL = 100;
/** How often it is looked for changed data of sockets. */
const SAVE_INTERVAL = 1000;
/** Of a session that does not change. */
const MAX_REFRESH = 30_000;
/** A session may be changed by others while it is taken. */
const MAX_TRIES = 10;
/** Entries of a block. */
const MAX_ENTRIES = 256;
/** Packets that change the sockets that later ones are for. */
const COMMANDS = new Set([MessageType.SOCKETS_JOIN, MessageType.SOCKETS_LEAVE, MessageType.DISCONNECT_SOCKETS]);
const EVENT = 2;

/** @typedef {import('./recovery').Position} Position */
/** @typedef {{ rooms: string[], except: string[], flags: any }} PlainOptions */
/** @typedef {{ uid: string, data?: any[], options?: PlainOptions, message?: any }} Entry of the log: a packet or a command */

/**
 * @typedef {object} Member what is known of a socket of this process
 * @property {Map<string, number>} rooms and since which block
 * @property {Position} sent
 * @property {any[][] | null} held packets that wait until the socket is connected
 * @property {string} pid '' while it has no connection, or its session is not this adapter's any more
 * @property {Buffer | undefined} stored its session
 * @property {string} saved its data as they were stored
 * @property {number} savedAt
 */

/** The base class has no declarations of what is private to it. @type {any} */
const Base = ClusterAdapterWithHeartbeat;
const { broadcast: broadcastHere } = Adapter.prototype;

class DroverAdapter extends Base {
  #hub;
  /** @type {Log | null} */
  #log = null;
  /** @type {Sessions | null} */
  #sessions = null;
  /** The last block that was delivered here. */
  #at = { epoch: '', number: 0 };
  /** @type {Map<string, Member>} */
  #members = new Map();
  /** Batches of entries that were sent to other machines. */
  batches = 0;
  /** What is to be appended. @type {{ entry: Entry, settle: (error?: unknown) => void }[]} */
  #queue = [];
  /** Resolves when everything before it is in the log. @type {Promise<void> | null} */
  #flushing = null;
  /** The position of the packet that is being delivered. @type {Position | null} */
  #position = null;
  /** @type {NodeJS.Timeout[]} */
  #timers = [];
  #maxDisconnection = 0;
  /** The last write of a session. @type {Promise<unknown>} */
  #written = Promise.resolve();

  /** @param {any} nsp @param {any} app @param {any} options */
  constructor(nsp, app, options) {
    super(nsp, options);
    this.cleanupTimer?.unref?.();
    this.#hub = hubOf(app);
    const { connectionStateRecovery: recovery } = nsp.server.opts;
    if (recovery) {
      const cache = localCacheOf(app, 'socket.io');
      this.#maxDisconnection = recovery.maxDisconnectionDuration;
      this.#log = new Log(cache, nsp.name, this.#maxDisconnection + 2 * this.#refresh);
      this.#sessions = new Sessions(cache, nsp.name);
      const { epoch = '', number = 0 } = this.#log.head() ?? {};
      this.#at = { epoch, number };
      this.#timers = [setInterval(() => this.#catchUp(), LOOK_INTERVAL), setInterval(() => this.#saveChanged(), SAVE_INTERVAL)];
      for (const timer of this.#timers) timer.unref();
    }
    this.#hub.add(this);
  }

  get #refresh() {
    return Math.min(MAX_REFRESH, this.#maxDisconnection / 4);
  }

  scheduleHeartbeat() {
    super.scheduleHeartbeat();
    this.heartbeatTimer?.unref?.();
  }

  close() {
    super.close();
    for (const timer of this.#timers) clearInterval(timer);
    this.#hub.remove(this);
  }

  // Messages

  /** @param {any} message @returns {Promise<string>} */
  async doPublish(message) {
    if (this.#log !== null && COMMANDS.has(message.type)) {
      await this.#append({ uid: this.uid, message });
      return '';
    }
    await this.#flushing;
    // Who waits for the receivers waits for the slowest of them: the packet would be late here.
    this.#send(message);
    return '';
  }

  /** @param {string} to @param {any} response */
  async doPublishResponse(to, response) {
    await this.#flushing;
    this.#hub.respond(this, to, withBuffers(response)).catch(() => {});
  }

  /** @param {any} message */
  #send(message) {
    const known = [...this.nodesMap.keys()];
    this.#hub.publish(this, { message: withBuffers(message) }).then(
      (uids) => {
        // Whoever is not among the receivers is gone, and is not waited for.
        for (const uid of known) {
          if (uids.includes(uid)) continue;
          this.#hub.forget(uid);
          this.removeNode(uid);
        }
      },
      () => {},
    );
  }

  /** A message of another adapter. @param {{ to?: string, message?: any }} received */
  receive({ to, message }) {
    // The log has what its sender has sent before.
    this.#catchUp();
    if (message === undefined || (to !== undefined && to !== this.uid)) return;
    this.onMessage(message);
  }

  // Broadcasts in the order of the log

  /** @param {any} packet @param {any} options */
  async broadcast(packet, options) {
    const { flags } = options;
    const isStored = this.#log !== null && packet.type === EVENT && packet.id === undefined && flags?.volatile === undefined && !flags?.local;
    if (!isStored) {
      if (this.#flushing !== null) await this.#flushing;
      return flags?.local ? broadcastHere.call(this, packet, options) : super.broadcast(packet, options);
    }
    const plain = { rooms: [...options.rooms], except: [...options.except], flags };
    try {
      await this.#append({ uid: this.uid, data: withBuffers(packet.data), options: plain });
    } catch {
      // The cache does not work, or the packet is too large for it: it is sent, but who misses it does not get it again.
      this.#send({ type: MessageType.BROADCAST, uid: this.uid, nsp: this.nsp.name, data: { packet, opts: plain } });
      broadcastHere.call(this, packet, options);
    }
    return undefined;
  }

  /** Offsets are those of the log. */
  addOffsetIfNecessary() {}

  /** @param {any[]} args */
  broadcastWithAck(...args) {
    if (this.#flushing === null) super.broadcastWithAck(...args);
    else this.#flushing.then(() => super.broadcastWithAck(...args));
  }

  /** @param {Entry} entry @returns {Promise<void>} */
  #append(entry) {
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, settle: (error) => (error === undefined ? resolve() : reject(error)) });
      this.#flushing ??= this.#flush();
    });
  }

  async #flush() {
    // What the program sends in the same turn goes together.
    await null;
    while (this.#queue.length > 0) {
      // A command is done here when its caller goes on, so nothing may follow it in its block.
      const command = this.#queue.findIndex(({ entry }) => entry.message !== undefined);
      const batch = this.#queue.splice(0, Math.min(command < 0 ? MAX_ENTRIES : command + 1, MAX_ENTRIES));
      try {
        await /** @type {Log} */ (this.#log).append(batch.map(({ entry }) => entry));
        this.#catchUp();
        for (const { settle } of batch) settle();
        if (batch.some(({ entry }) => isForOthers(entry, this.nsp))) this.#tellOthers(batch.map(({ entry }) => entry));
      } catch (error) {
        for (const { settle } of batch) settle(error);
      }
    }
    this.#flushing = null;
  }

  /** @param {Entry[]} entries that were appended */
  #tellOthers(entries) {
    this.#hub.publish(this, {}, 'cluster').catch(() => {});
    this.#hub.replicate(this, entries);
  }

  /** What an adapter of another machine has appended to its log. @param {import('./log').Foreign} foreign */
  async appendForeign(foreign) {
    if (this.#log === null || !(await this.#log.appendForeign(foreign))) return;
    this.#catchUp();
    this.#hub.publish(this, {}, 'cluster').catch(() => {});
  }

  /** Delivers what is new in the log. */
  #catchUp() {
    const head = this.#log?.head();
    if (this.#log === null || head === undefined) return;
    const { epoch, number } = this.#at;
    if (head.epoch === epoch && head.number === number) return;
    const isSame = head.epoch === epoch;
    // The numbers begin again.
    if (!isSame) this.#members.forEach((member) => Object.assign(member, { rooms: new Map([...member.rooms.keys()].map((room) => [room, 0])), sent: [0, -1] }));
    const from = isSame ? number + 1 : 1;
    const blocks = this.#log.blocks(head, from);
    if (blocks === null) {
      // Nobody knows any more what was not delivered: the clients are told so when they connect again.
      this.#at = { epoch: head.epoch, number: head.number };
      for (const socket of [...this.nsp.sockets.values()]) socket.conn.close();
      return;
    }
    for (const block of blocks) {
      this.#at = { epoch: head.epoch, number: block.number };
      block.entries.forEach((entry, index) => this.#deliver(entry, [block.number, index]));
    }
  }

  /** @param {Entry} entry @param {Position} position */
  #deliver({ uid, data, options, message }, position) {
    if (message !== undefined) {
      if (uid !== this.uid) this.onMessage(message);
      return;
    }
    if (data === undefined || options === undefined) return;
    const packet = { type: EVENT, data: [...data, offsetOf(this.#at.epoch, position)] };
    for (const member of this.#members.values()) {
      if (member.held !== null && isFor(member.rooms, options, position[0])) {
        member.held.push(packet.data);
        member.sent = position;
      }
    }
    this.#position = position;
    try {
      broadcastHere.call(this, packet, /** @type {any} */ ({ rooms: new Set(options.rooms), except: new Set(options.except), flags: options.flags }));
    } finally {
      this.#position = null;
    }
  }

  /** @param {any} options @param {(socket: any) => void} callback */
  apply(options, callback) {
    const position = this.#position;
    if (position === null) return super.apply(options, callback);
    return super.apply(options, (/** @type {any} */ socket) => {
      const member = this.#members.get(socket.id);
      // Its packets were put to those that wait.
      if (member !== undefined && member.held !== null) return;
      if (member !== undefined) member.sent = position;
      callback(socket);
    });
  }

  // Sessions

  /** @param {string} id @param {Set<string>} rooms */
  addAll(id, rooms) {
    super.addAll(id, rooms);
    if (this.#sessions === null) return;
    const socket = this.nsp.sockets.get(id);
    const member = this.#members.get(id) ?? { rooms: new Map(), sent: [this.#at.number, -1], held: null, pid: '', stored: undefined, saved: '', savedAt: 0 };
    this.#members.set(id, member);
    for (const room of rooms) if (!member.rooms.has(room)) member.rooms.set(room, this.#at.number);
    if (socket === undefined) return;
    member.pid = socket.pid;
    if (member.held !== null) this.#sendHeld(socket, member);
    this.#saveSoon(id, member);
  }

  /**
   * Sends what the client has missed, after the packet that connects it: what comes before that is kept by a client whose
   * connection fails at this point, and would be doubled by the next one.
   *
   * @param {any} socket
   * @param {Member} member
   */
  #sendHeld(socket, member) {
    queueMicrotask(() => {
      const held = member.held ?? [];
      member.held = null;
      for (const data of held) socket.packet({ type: EVENT, data });
    });
  }

  /** @param {string} id @param {string} room */
  del(id, room) {
    super.del(id, room);
    const member = this.#members.get(id);
    if (member?.rooms.delete(room)) this.#saveSoon(id, member);
  }

  /** @param {string} id */
  delAll(id) {
    super.delAll(id);
    const member = this.#members.get(id);
    this.#members.delete(id);
    // Its connection ended for good: a session that can be recovered was stored before.
    if (member !== undefined && member.pid !== '') this.#sessions?.remove(member.pid).catch(() => {});
  }

  /** @param {string} id @param {Member} member */
  #saveSoon(id, member) {
    if (member.savedAt < 0) return;
    member.savedAt = -1;
    queueMicrotask(() => {
      if (this.#members.get(id) === member) this.#save(id, member);
    });
  }

  /** @param {string} id @param {Member} member @param {string} [data] as JSON */
  #save(id, member, data) {
    const socket = this.nsp.sockets.get(id);
    if (socket === undefined || member.pid === '') return;
    member.savedAt = Date.now();
    member.saved = data ?? jsonOf(socket.data);
    this.#write(member, member.pid, this.#sessionOf(id, member, socket.data, 0));
  }

  /** @param {string} sid @param {Member} member @param {any} data @param {number} closed @returns {import('./recovery').Session} */
  #sessionOf(sid, { rooms, sent }, data, closed) {
    return { sid, rooms: [...rooms], data: withBuffers(data), owner: this.uid, sent, at: this.#at.number, closed };
  }

  /** @param {Member} member @param {string} pid @param {import('./recovery').Session} session */
  #write(member, pid, session) {
    const lifetime = this.#maxDisconnection + (session.closed === 0 ? 2 * this.#refresh : 0);
    const expected = member.stored;
    try {
      member.stored = pack(session);
    } catch {
      // Data that are no JSON cannot be recovered.
      return undefined;
    }
    // It fails if another process has the client now.
    this.#written = /** @type {Sessions} */ (this.#sessions).replace(pid, expected, member.stored, lifetime).catch(() => false);
    return this.#written;
  }

  /** Stores sessions whose data have changed, and others before they end. */
  #saveChanged() {
    const due = Date.now() - this.#refresh;
    for (const [id, member] of this.#members) {
      const socket = this.nsp.sockets.get(id);
      if (socket === undefined || member.savedAt < 0) continue;
      const data = jsonOf(socket.data);
      if (data !== member.saved || member.savedAt < due) this.#save(id, member, data);
    }
  }

  /** @param {any} session what the server knows of a socket whose connection has ended */
  persistSession({ sid, pid, data }) {
    const member = this.#members.get(sid);
    if (member === undefined || member.pid === '') return undefined;
    member.pid = '';
    return this.#write(member, pid, this.#sessionOf(sid, member, data, Date.now()));
  }

  /** Ends the connection of a session whose client is elsewhere; resolves when the session is stored. @param {string} pid */
  async release(pid) {
    const [id] = [...this.#members].find(([, member]) => member.pid === pid) ?? [''];
    const socket = this.nsp.sockets.get(id);
    if (socket === undefined) return;
    // A connection whose other end is gone may take long to close.
    socket._onclose('forced close');
    socket.conn.close();
    await this.#written;
  }

  /**
   * Makes a session this adapter's, wherever it is; null: there is none that may be recovered.
   *
   * @param {string} pid
   * @returns {Promise<{ session: import('./recovery').Session, stored: Buffer } | null>}
   */
  async #take(pid) {
    const sessions = /** @type {Sessions} */ (this.#sessions);
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      let known = sessions.read(pid);
      if (known?.session.closed === 0) {
        await Promise.all([this.release(pid), this.#hub.release(this, pid).catch(() => {})]);
        known = sessions.read(pid);
      }
      if (known === undefined) return null;
      const { session, bytes } = known;
      if (session.closed !== 0 && session.closed + this.#maxDisconnection < Date.now()) return null;
      const stored = pack({ ...session, owner: this.uid, closed: 0 });
      // A worker that is being replaced may store the session only now.
      if (await sessions.replace(pid, bytes, stored, this.#maxDisconnection + 2 * this.#refresh)) return { session, stored };
    }
    return null;
  }

  /** @param {string} pid @param {string} offset @returns {Promise<any>} */
  async restoreSession(pid, offset) {
    const received = readOffset(offset);
    if (this.#log === null || this.#sessions === null || received === null) return null;
    const taken = await this.#take(pid);
    if (taken === null) return null;
    const { session, stored } = taken;
    this.#catchUp();
    const missed = this.#missed(session, received);
    if (missed === null) return null;
    const { sid, rooms, data } = session;
    const last = missed.at(-1)?.position ?? received.position;
    this.#members.set(sid, { rooms: new Map(rooms), sent: last, held: missed.map((packet) => packet.data), pid: '', stored, saved: '', savedAt: 0 });
    return { sid, pid, rooms: rooms.map((/** @type {[string, number]} */ [room]) => room), data, missedPackets: [] };
  }

  /**
   * The packets for the session after what its client has received; null: they are not known any more.
   *
   * @param {import('./recovery').Session} session
   * @param {{ epoch: string, position: Position }} received
   */
  #missed(session, { epoch, position }) {
    const head = /** @type {Log} */ (this.#log).head();
    if (head === undefined || head.epoch !== epoch || this.#at.epoch !== epoch) return null;
    const since = missedSince(session, position);
    const blocks = /** @type {Log} */ (this.#log).blocks(head, since[1] === Infinity ? since[0] + 1 : since[0]);
    if (blocks === null) return null;
    // Others append meanwhile: what was not delivered here is kept for the socket.
    const delivered = blocks.filter(({ number }) => number <= this.#at.number);
    return delivered.flatMap(({ number, entries }) =>
      entries.flatMap((/** @type {Entry} */ { data, options }, /** @type {number} */ index) => {
        const isMissed = data !== undefined && options !== undefined && isAfter([number, index], since) && isFor(session.rooms, options, number);
        return isMissed ? [{ data: [...data, offsetOf(epoch, [number, index])], position: /** @type {Position} */ ([number, index]) }] : [];
      }),
    );
  }
}

/** Whether other workers have to look at the log at once: not for a packet to one socket of this process. @param {Entry} entry @param {any} nsp */
function isForOthers({ options }, nsp) {
  return options === undefined || options.rooms.length !== 1 || options.except.length > 0 || !nsp.sockets.has(options.rooms[0]);
}

/** The value with a Buffer for everything binary in it, which is what messages carry. @param {any} value @returns {any} */
function withBuffers(value) {
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value) || typeof value.toJSON === 'function') return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (Array.isArray(value)) return value.some(hasParts) ? value.map(withBuffers) : value;
  if (!Object.values(value).some(hasParts)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, withBuffers(own)]));
}

/** @param {any} value */
function hasParts(value) {
  return value !== null && typeof value === 'object';
}

/** @param {any} data */
function jsonOf(data) {
  try {
    return JSON.stringify(data) ?? '';
  } catch {
    return '';
  }
}

exports.DroverAdapter = DroverAdapter;
