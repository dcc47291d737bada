'use strict';

// Clients that send requests to a program continuously, half of them on persistent connections. Any other than the
// expected response is a failure.

const { isDeepStrictEqual } = require('node:util');
const { setTimeout: wait } = require('node:timers/promises');
const { open } = require('./clients');

const CLIENTS = 8;

/** Milliseconds between two requests of a client, so that connections are idle at times. */
const PAUSE = 20;

class Load {
  #asks = true;
  #clients;
  #waiting = new Set();

  answered = 0;
  /** { opened, error }: when the client of the failed request connected, and the error. */
  failures = [];
  /** What clients read whose connection the program closed. @type {string[]} */
  away = [];

  /** The clients are closed at the latest when the test `t` ends. */
  constructor(t, program, place, expected) {
    t.after(() => this.stop());
    const { clients = CLIENTS } = program;
    this.#clients = Array.from({ length: clients }, (_, number) =>
      this.#work(() => open(program, place, { keepAlive: number % 2 === 0, onAway: (message) => this.away.push(message) }), number % 2 === 0, expected),
    );
  }

  async #work(connect, keeps, expected) {
    let client = null;
    let opened = 0;
    while (this.#asks) {
      if (client === null) opened = performance.now();
      try {
        client ??= connect();
        const answer = await client.ask();
        if (!isDeepStrictEqual(answer, expected)) throw new Error(`another answer: ${JSON.stringify(answer)}`);
        this.answered += 1;
      } catch (error) {
        this.failures.push({ opened, error });
        await client?.close();
        client = null;
      }
      if (!keeps) {
        await client?.close();
        client = null;
      }
      for (const check of this.#waiting) check();
      await wait(PAUSE);
    }
    await client?.close();
  }

  /** Resolves after this many more responses; rejects after the timeout. */
  more(count, patience) {
    const wanted = this.answered + count;
    return this.#until(() => this.answered >= wanted, `${wanted} answers`, patience);
  }

  /** Resolves when the request in progress of each client has ended. */
  refused() {
    return this.#until(() => this.failures.length >= this.#clients.length, 'the end');
  }

  #until(isSo, what, patience = 60_000) {
    return new Promise((resolve, reject) => {
      const settle = (act, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        act(value);
      };
      const check = () => isSo() && settle(resolve);
      const timer = setTimeout(() => {
        const [{ error } = {}] = this.failures.slice(-1);
        const text = `${this.answered} answers, not ${what}, after ${patience} ms; the last failure: ${error?.message}`;
        settle(reject, new Error(text, { cause: error }));
      }, patience);
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves when the clients are closed. */
  async stop() {
    this.#asks = false;
    await Promise.all(this.#clients);
  }
}

module.exports = { Load };
