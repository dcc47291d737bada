// @ts-check
'use strict';

// `app.metrics`: the program's own metrics by name, and where this process counts them.

const { inspect } = require('node:util');
const { addon } = require('../native');
const { ClusterError, unwrap } = require('../errors');
const { Counter, DROPPED, Gauge, Histogram } = require('./instruments');

/** @typedef {import('./instruments').Home} Home */

/**
 * A place that the core gave.
 *
 * @param {any} native
 * @param {(text: string) => void} warn
 * @returns {Home}
 */
function homeOf(native, warn) {
  const into = { cells: new ArrayBuffer(0) };
  unwrap(native.share(into));
  return {
    cells: new Float64Array(into.cells),
    define: (definition) => unwrap(native.define(definition)),
    series: (family, labels) => native.series(family, labels),
    told: () => native.told(),
    warn,
  };
}

/** Where nobody else reads: a process without a cluster, or a primary before its cluster. @returns {Home} */
function alone() {
  if (addon === null) {
    throw new ClusterError('Metrics need the addon, which this platform does not have', 'NOT_SUPPORTED');
  }
  return homeOf(addon.Meters.alone(), (text) => console.warn(`drover: ${text}`));
}

class Registry {
  /** @type {Home | null} */
  #home = null;
  #open;
  /** By the number that the core gave. @type {Map<number, any>} */
  #meters = new Map();

  /** @param {() => Home} [open] where to count, once something is */
  constructor(open = alone) {
    this.#open = open;
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] */
  counter(name, help, labels) {
    return this.#meter(Counter, { kind: 'counter', name, help, labels });
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] */
  gauge(name, help, labels) {
    return this.#meter(Gauge, { kind: 'gauge', name, help, labels });
  }

  /** @param {string} name @param {string} help @param {string[]} [labels] @param {{ buckets?: number[] }} [options] */
  histogram(name, help, labels, options) {
    const buckets = options?.buckets ?? [];
    if (Array.isArray(buckets) && buckets.some((bound) => !Number.isFinite(bound))) {
      const found = inspect(buckets, { breakLength: Infinity, maxArrayLength: 10 });
      const allowed = 'at most 100 finite numbers, each above the last';
      throw new ClusterError(`${name}: buckets: found ${found}, allowed: ${allowed}`, 'INVALID_ARGUMENT');
    }
    return this.#meter(Histogram, { kind: 'histogram', name, help, labels, buckets });
  }

  /**
   * @param {new (definition: any, home: Home, defined: any) => any} Meter
   * @param {any} given
   */
  #meter(Meter, given) {
    const definition = { buckets: [], ...given, labels: given.labels ?? [] };
    this.#home ??= this.#open();
    const defined = this.#home.define(definition);
    const known = this.#meters.get(defined.family);
    if (known !== undefined) return known;
    const meter = new Meter(definition, this.#home, defined);
    this.#meters.set(defined.family, meter);
    return meter;
  }

  /** What is counted where this process counts, as `userMetrics`. */
  told() {
    return this.#home === null ? {} : this.#home.told();
  }

  /** From now on it is counted there; what was counted so far comes along. @param {() => Home} open */
  move(open) {
    this.#open = open;
    if (this.#home === null) return;
    const home = open();
    home.cells[DROPPED] += this.#home.cells[DROPPED];
    this.#home = home;
    const meters = [...this.#meters.values()];
    this.#meters.clear();
    for (const meter of meters) {
      const defined = home.define(meter.definition);
      meter.move(home, defined);
      this.#meters.set(defined.family, meter);
    }
  }
}

exports.Registry = Registry;
exports.homeOf = homeOf;
