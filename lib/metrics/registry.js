// @ts-check
'use strict';

// `app.metrics`: the program's own metrics by name, and the store of this process.

const { inspect } = require('node:util');
const { addon } = require('../native');
const { ClusterError, unwrap } = require('../errors');
const { METRICS_DROPPED } = require('./cells');
const { Counter, Gauge, Histogram } = require('./instruments');

/** @typedef {import('./instruments').Store} Store */

/** Wraps a store of the core.
 *
 * @param {any} native
 * @param {(text: string) => void} warn
 * @returns {Store}
 */
function storeOf(native, warn) {
  const into = { cells: new ArrayBuffer(0) };
  unwrap(native.share(into));
  return {
    cells: new Float64Array(into.cells),
    define: (definition) => unwrap(native.define(definition)),
    series: (family, labels) => native.series(family, labels),
    snapshot: () => native.snapshot(),
    warn,
  };
}

/** A store in private memory: for a process without a cluster, or a primary before its cluster. @returns {Store} */
function localStore() {
  if (addon === null) {
    throw new ClusterError('Metrics need the addon, which this platform does not have', 'NOT_SUPPORTED');
  }
  return storeOf(addon.MetricStore.singleProcess(), (text) => console.warn(`drover: ${text}`));
}

class Registry {
  /** @type {Store | null} */
  #store = null;
  #open;
  /** Metrics by the number that the core has assigned. @type {Map<number, any>} */
  #instruments = new Map();

  /** @param {() => Store} [open] opens the store when the first metric is defined */
  constructor(open = localStore) {
    this.#open = open;
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] */
  counter(name, help, labels) {
    return this.#instrument(Counter, { kind: 'counter', name, help, labels });
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] */
  gauge(name, help, labels) {
    return this.#instrument(Gauge, { kind: 'gauge', name, help, labels });
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] @param {{ buckets?: number[] }} [options] */
  histogram(name, help, labels, options) {
    const buckets = options?.buckets ?? [];
    if (Array.isArray(buckets) && buckets.some((bound) => !Number.isFinite(bound))) {
      const found = inspect(buckets, { breakLength: Infinity, maxArrayLength: 10 });
      const allowed = 'at most 100 finite numbers, each above the last';
      throw new ClusterError(`${name}: buckets: found ${found}, allowed: ${allowed}`, 'INVALID_ARGUMENT');
    }
    return this.#instrument(Histogram, { kind: 'histogram', name, help, labels, buckets });
  }

  /**
   * @param {new (definition: any, store: Store, defined: any) => any} Instrument
   * @param {any} given
   */
  #instrument(Instrument, given) {
    const definition = { buckets: [], ...given, labels: given.labels ?? [] };
    this.#store ??= this.#open();
    const defined = this.#store.define(definition);
    const known = this.#instruments.get(defined.family);
    if (known !== undefined) return known;
    const instrument = new Instrument(definition, this.#store, defined);
    this.#instruments.set(defined.family, instrument);
    return instrument;
  }

  /** The values of this process's store, in the form of `userMetrics`. */
  snapshot() {
    return this.#store === null ? {} : this.#store.snapshot();
  }

  /** Moves all metrics to another store and carries the current values over. @param {() => Store} open */
  move(open) {
    this.#open = open;
    if (this.#store === null) return;
    const store = open();
    store.cells[METRICS_DROPPED] += this.#store.cells[METRICS_DROPPED];
    this.#store = store;
    const instruments = [...this.#instruments.values()];
    this.#instruments.clear();
    for (const instrument of instruments) {
      const defined = store.define(instrument.definition);
      instrument.move(store, defined);
      this.#instruments.set(defined.family, instrument);
    }
  }
}

exports.Registry = Registry;
exports.storeOf = storeOf;
