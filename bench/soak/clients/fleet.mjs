// What all clients of the fleet share: the ledger, the names of requests, and the way one is asked and judged.

import { setTimeout as wait } from 'node:timers/promises';
import { Ledger } from '../ledger.mjs';
import { Random } from '../random.mjs';
import { Connection, Lost } from './connection.mjs';
import journal from '../servers/journal.js';

const { now } = journal;

/** How often overdue requests are looked for. */
const SWEEP_MS = 100;
/** Before a client whose connection was lost comes again. */
const AGAIN_MS = 20;

export class Fleet {
  ledger = new Ledger();
  /** New connections where a plain HTTP/1.1 keep-alive client had one already, by kind of client. */
  reopened = {};
  /** Requests that were sent again because an earlier answer had closed the connection, as HTTP has it. */
  resent = 0;
  isOver = false;
  #clients = 0;
  #seed;
  /** How to drop the connection of each request that waits. */
  #drop = new Map();

  constructor({ ports, seed }) {
    this.ports = ports;
    this.#seed = seed;
    const sweep = () => this.ledger.overdue(now()).forEach((id) => this.#drop.get(id)?.());
    setInterval(sweep, SWEEP_MS).unref();
  }

  /** A new client: its kind, its own randomness and its own names of requests. */
  client(kind) {
    this.#clients += 1;
    const prefix = `${this.#clients}-`;
    let requests = 0;
    return {
      kind,
      random: new Random(this.#seed + this.#clients),
      nextId: () => `${prefix}${(requests += 1)}`,
    };
  }

  /** Enters a request, runs `exchange` (a promise of { isRight, reason }) and enters how it ended. */
  async judge(id, { kind, lasts, place, drop }, exchange) {
    this.ledger.begin(id, { kind, at: now(), lasts, connection: place });
    this.#drop.set(id, drop);
    try {
      const { isRight, refused } = await exchange();
      if (refused) this.ledger.fail(id, refused, now());
      else this.ledger.answer(id, isRight, now());
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      if (error.unprocessed) {
        this.ledger.withdraw(id);
        this.resent += 1;
      } else this.ledger.fail(id, error.message, now());
      return false;
    } finally {
      this.#drop.delete(id);
    }
    return true;
  }
}

/**
 * A client over HTTP/1.1. It keeps its connection as long as the server does, or is told by `secure` or
 * `sessionMs` (a function) to begin anew; what it sends goes by `turn(client)`, which resolves when one exchange
 * is over.
 */
export class HttpClient {
  #fleet;
  #options;
  #connection = null;
  #until = Infinity;
  #lastId = null;

  constructor(fleet, kind, options = {}) {
    this.#fleet = fleet;
    this.#options = options;
    Object.assign(this, fleet.client(kind));
  }

  /** The connection to use now. */
  connection() {
    const { secure = false, slowly = false, sessionMs } = this.#options;
    if (this.#connection?.isOpen && now() < this.#until) return this.#connection;
    // A client with sessions closes its connections by its own will.
    const isKept = sessionMs === undefined;
    if (this.#connection && isKept) this.#fleet.reopened[this.kind] = (this.#fleet.reopened[this.kind] ?? 0) + 1;
    this.#connection?.close();
    if (!isKept) this.#until = now() + sessionMs(this.random);
    const port = secure ? this.#fleet.ports.https : this.#fleet.ports.http;
    const unasked = () => this.#lastId && this.#fleet.ledger.unasked(this.#lastId, now());
    return (this.#connection = new Connection(port, { secure, slowly, unasked }));
  }

  /**
   * One request: `send(write, id)` writes it, `expected(id)` is the body that is right. It is sent again when the
   * server had closed the connection with an earlier answer.
   */
  async exchange({ lasts = 0, send, expected }) {
    const connection = this.connection();
    const id = this.nextId();
    const drop = () => connection.close();
    const isOver = await this.#fleet.judge(id, { kind: this.kind, lasts, place: connection.place, drop }, async () => {
      const answer = connection.ask();
      this.#lastId = id;
      const sent = send((bytes) => connection.write(bytes), id);
      // A loss is known when it happens, not when all is sent.
      const { status, body } = await answer;
      await sent;
      return status === 200 ? { isRight: body.equals(expected(id)) } : { refused: `status ${status}` };
    });
    if (!isOver) await wait(AGAIN_MS);
    return isOver;
  }

  async run(turn, thinkMs) {
    // Not all at once at the beginning.
    await wait(this.random.whole(0, 200));
    while (!this.#fleet.isOver) {
      await turn(this);
      const pause = thinkMs(this.random);
      if (pause > 0) await wait(pause);
    }
    this.#connection?.close();
  }
}
