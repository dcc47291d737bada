// Commands to a contender's first process; see bench/servers/commands.js for the protocol.

import readline from 'node:readline';

/** Timeout of a command: a roll waits for the slowest request of each worker in turn. */
const ORDER_MS = 60_000;

export class Refused extends Error {
  constructor({ code, message }, order) {
    super(`${order}: ${code}: ${message}`);
    this.code = code;
  }
}

export class Control {
  #stdin;
  #orders = 0;
  #waiting = new Map();
  #gone = null;

  constructor({ stdin, stdout }) {
    this.#stdin = stdin;
    const gone = { code: 'ENDED', message: 'the process has ended' };
    readline
      .createInterface({ input: stdout })
      .on('line', (line) => this.#hear(line))
      .once('close', () => {
        this.#gone = gone;
        for (const { refuse } of [...this.#waiting.values()]) refuse(gone);
      });
    // Whoever waits for an order hears of the end above.
    stdin.on('error', () => undefined);
  }

  /** Resolves to the value, rejects with Refused. */
  order(what, more = {}) {
    if (this.#gone) return Promise.reject(new Refused(this.#gone, what));
    const id = (this.#orders += 1);
    return new Promise((resolve, reject) => {
      const refuse = (error) => this.#settle(id, reject, new Refused(error, what));
      const timer = setTimeout(() => refuse({ code: 'NO_ANSWER', message: `none in ${ORDER_MS} ms` }), ORDER_MS);
      this.#waiting.set(id, { resolve, refuse, timer });
      this.#stdin.write(`${JSON.stringify({ id, do: what, ...more })}\n`);
    });
  }

  /** The workers: { pid, ready }. */
  workers() {
    return this.order('workers');
  }

  #hear(line) {
    // A cluster's own log lines come here too.
    if (!line.startsWith('{"reply":')) return;
    const { reply, value, error } = JSON.parse(line);
    const asked = this.#waiting.get(reply);
    if (asked === undefined) return;
    if (error) asked.refuse(error);
    else this.#settle(reply, asked.resolve, value);
  }

  #settle(id, act, value) {
    clearTimeout(this.#waiting.get(id)?.timer);
    this.#waiting.delete(id);
    act(value);
  }
}
