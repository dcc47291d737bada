// @ts-check
'use strict';

// What a process counts of a namespace: in variables, added to the cluster's figures once a second.

const { constants } = require('../native');

const { figure: figures } = constants?.cache ?? { figure: {} };

/** Milliseconds. */
const INTERVAL = 1000;

/** The figures as `stats()` names them. */
const NAMES = Object.entries(figures)
  .filter(([name]) => name !== 'COUNT')
  .map(([name, at]) => [name.toLowerCase().replace(/_(.)/g, (_, letter) => letter.toUpperCase()), at]);

class Figures {
  nearHits = 0;
  farHits = 0;
  misses = 0;
  computed = 0;
  waited = 0;
  /** It is known when they will be added. */
  #isDue = false;
  /** @type {Promise<number> | null} */
  #row = null;
  #connect;
  #prefix;

  /** @param {() => import('./connection').Connection} connect @param {string} prefix of the namespace's keys */
  constructor(connect, prefix) {
    this.#connect = connect;
    this.#prefix = prefix;
  }

  /** Something was counted. */
  touch() {
    if (this.#isDue) return;
    this.#isDue = true;
    // When the cache has ended nobody reads them.
    setTimeout(() => void this.publish().catch(() => {}), INTERVAL).unref();
  }

  /** Adds what was counted to the cluster's figures; resolves to the first cell of the namespace's row. */
  async publish() {
    this.#isDue = false;
    const connection = this.#connect();
    this.#row ??= connection.row(this.#prefix);
    const first = (await this.#row) * figures.COUNT;
    const own = { NEAR_HITS: this.nearHits, FAR_HITS: this.farHits, MISSES: this.misses, COMPUTED: this.computed, WAITED: this.waited };
    this.nearHits = this.farHits = this.misses = this.computed = this.waited = 0;
    for (const [name, count] of Object.entries(own)) if (count > 0) connection.note(first + figures[name], count);
    return first;
  }

  /** The figures of the whole cluster, with those of this process up to now. @returns {Promise<Record<string, number>>} */
  async read() {
    const first = await this.publish();
    const connection = this.#connect();
    return Object.fromEntries(NAMES.map(([name, at]) => [name, connection.figure(first + at)]));
  }
}

exports.Figures = Figures;
