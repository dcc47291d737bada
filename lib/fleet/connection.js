// @ts-check
'use strict';

// This process's channel to the fleet's thread: numbered requests and their answers, and what the thread tells by itself.
// `src/fleet/request.rs` describes them.

const { ClusterError, fromCore, unwrap } = require('../errors');
const { constants } = require('../native');
const { pack, unpack } = require('./parts');

const { operation, status: statuses, notice: notices } = constants?.fleet ?? { operation: {}, status: {}, notice: {} };

/** The end of the channel. */
const CLOSED = -1;

/** Why something was not sent, by what `post` returned. @type {Record<number, [code: string, message: string]>} */
const UNSENT = {
  [-1]: ['MESSAGE_TOO_LARGE', 'what is sent to the fleet is too large (ipc.maxMessageSize)'],
  [-2]: ['STOPPED', 'the fleet was left, because the cluster has stopped'],
  [-3]: ['RESOURCE_EXHAUSTED', 'the primary takes no requests to the fleet, and 16 MB of them are waiting'],
};

/**
 * @typedef {object} State
 * @property {string} id of this machine
 * @property {boolean} isAvailable Redis does what is asked
 * @property {number | null} token of the lease of the fleet's leader, if this machine is it
 * @property {number} until when that ends: milliseconds on the machine's clock
 */

/**
 * @typedef {object} Report what a connection reports
 * @property {(state: State) => void} changed
 * @property {(number: number, message: { machine: string, kind: string, format: number, body: Buffer }) => void} received
 * a message of another machine
 * @property {(hasJoined: boolean, member: any) => void} member
 * @property {() => void} closed
 */

/** @param {string} why */
function unavailable(why) {
  return new ClusterError(`The fleet is unavailable: Redis: ${why}`, 'FLEET_UNAVAILABLE');
}

class Connection {
  /** @type {Map<number, { parts: Buffer[][], resolve: (parts: Buffer[][]) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  #native;
  #report;

  /** @param {(into: object, deliver: (...values: any[]) => void) => any} open @param {Report} report */
  constructor(open, report) {
    /** @type {any} */
    const native = {};
    this.#native = native;
    this.#report = report;
    this.isClosed = false;
    unwrap(open(native, (number, answers, bytes) => this.#deliver(number, answers, bytes)));
  }

  /**
   * Resolves to the answer: one list of parts, or several if it came in pieces.
   *
   * @param {number} what
   * @param {(string | Buffer)[]} parts
   * @returns {Promise<Buffer[][]>}
   */
  ask(what, parts) {
    return new Promise((resolve, reject) => {
      const number = this.#post(0, pack(what, parts));
      if (this.#waiting.size === 0) this.#native.hold(1);
      this.#waiting.set(number, { parts: [], resolve, reject });
    });
  }

  /** Answers a message of another machine. @param {number} number @param {boolean} isAnswer @param {number} format @param {string | Buffer} body */
  answer(number, isAnswer, format, body) {
    this.#post(number, pack(operation.ANSWER, [isAnswer ? '1' : '0', String(format), body]));
  }

  /** @param {number} answers @param {Buffer} bytes */
  #post(answers, bytes) {
    const number = this.#native.post(answers, bytes);
    if (number >= 0) return number;
    const [code, message] = UNSENT[number];
    throw new ClusterError(`fleet: ${message}`, code);
  }

  /** @param {number} number @param {number} answers @param {Buffer} bytes */
  #deliver(number, answers, bytes) {
    if (number === CLOSED) return this.#close();
    const { what, parts } = unpack(bytes);
    if (answers !== 0) this.#answered(answers, what, parts);
    else if (what === notices.STATE) this.#report.changed(stateOf(parts));
    else if (what === notices.MESSAGE) {
      const [machine, kind, format, body] = parts;
      this.#report.received(number, { machine: machine.toString(), kind: kind.toString(), format: Number(format), body });
    } else if (what === notices.MEMBER) this.#report.member(parts[0].toString() === '1', JSON.parse(parts[1].toString()));
    return undefined;
  }

  /** @param {number} number @param {number} status @param {Buffer[]} parts */
  #answered(number, status, parts) {
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    if (status === statuses.PART) {
      waiting.parts.push(parts);
      return;
    }
    this.#waiting.delete(number);
    if (this.#waiting.size === 0) this.#native.hold(0);
    if (status === statuses.DONE) waiting.resolve(waiting.parts.length > 0 ? waiting.parts : [parts]);
    else if (status === statuses.UNAVAILABLE) waiting.reject(unavailable(parts[0].toString()));
    else if (status === statuses.REFUSED) waiting.reject(fromCore(JSON.parse(parts[0].toString())));
    else waiting.reject(new ClusterError('fleet: the request cannot be read', 'INVALID_ARGUMENT'));
  }

  #close() {
    this.isClosed = true;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    const [code, message] = UNSENT[-2];
    for (const { reject } of waiting) reject(new ClusterError(`fleet: ${message}`, code));
    this.#report.closed();
  }
}

/** @param {Buffer[]} parts @returns {State} */
function stateOf([id, isAvailable, token, until]) {
  return {
    id: id.toString(),
    isAvailable: isAvailable.toString() === '1',
    token: token.length === 0 ? null : Number(token),
    until: Number(until),
  };
}

exports.Connection = Connection;
exports.operation = operation;
