// One TCP connection of a client, which never reconnects or retries: its fate is decided by the server.

import net from 'node:net';
import tls from 'node:tls';
import { AnswerReader } from './answers.mjs';
import journal from '../servers/journal.js';

/** Between two reads of a slow reader. */
const READ_GAP_MS = 15;

/** Why a request has no answer. `unprocessed`: an earlier answer on the connection had said that it is the last. */
export class Lost extends Error {
  constructor(reason, { unprocessed = false } = {}) {
    super(reason);
    this.unprocessed = unprocessed;
  }
}

export class Connection {
  #socket;
  #reader = new AnswerReader();
  /** Requests in their order: { resolve, reject }. */
  #waiting = [];
  #unasked;
  #slowly;
  /** Where it goes and comes from, as the journal names it, and when bytes came from there last. */
  place;
  /** Not ended, and not said to be the last answer's. */
  isOpen = true;

  /** `unasked(text)` is called with bytes that come while nobody waits. */
  constructor(port, { secure = false, slowly = false, unasked } = {}) {
    this.place = { serverPort: port, clientPort: null, opened: journal.now() };
    this.#unasked = unasked;
    this.#slowly = slowly;
    const where = { port, host: '127.0.0.1', noDelay: true, rejectUnauthorized: false };
    this.#socket = (secure ? tls : net).connect(where);
    this.#socket
      .on('connect', () => (this.place.clientPort = this.#socket.localPort))
      .on('data', (bytes) => this.#take(bytes))
      .on('error', ({ code, message }) => this.#end(code ?? message))
      .on('end', () => this.#end('closed'))
      .on('close', () => this.#end('closed'));
  }

  /** A request as its pieces are written, by whoever calls `write`; resolves to its answer. */
  ask() {
    const answer = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    // Whoever asks may still be writing when it fails, and awaits it afterwards.
    answer.catch(() => undefined);
    if (!this.isOpen) this.#end('closed');
    return answer;
  }

  write(bytes) {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  /** The client has no more to ask. */
  close() {
    this.isOpen = false;
    this.#socket.destroy();
  }

  #take(bytes) {
    this.place.readAt = journal.now();
    if (this.#slowly) {
      this.#socket.pause();
      setTimeout(() => this.#socket.resume(), READ_GAP_MS);
    }
    let answers;
    try {
      answers = this.#reader.read(bytes);
    } catch (error) {
      return this.#end(error.message);
    }
    for (const answer of answers) {
      const isLast = /close/i.test(answer.headers.get('connection') ?? '');
      const asked = this.#waiting.shift();
      if (asked) asked.resolve(answer);
      else this.#unasked?.(`HTTP ${answer.status}`);
      if (isLast) return this.#end('after its last answer', { unprocessed: true });
    }
  }

  #end(reason, how) {
    this.isOpen = false;
    this.#socket.destroy();
    const within = this.#reader.isWithin ? ' within the answer' : '';
    for (const { reject } of this.#waiting.splice(0)) reject(new Lost(reason + within, how));
  }
}
