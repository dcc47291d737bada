// @ts-check
'use strict';

// Counters, gauges and histograms of the program's own. A value is a plain store into memory that the cluster shares;
// only the first use of a set of labels asks the core for a place.

const { ClusterError } = require('../errors');

/** Cell of the values that found no room. */
const DROPPED = 1;

/**
 * Where a process counts.
 *
 * @typedef {object} Home
 * @property {Float64Array} cells
 * @property {(definition: any) => { family: number, buckets: number[] }} define
 * @property {(family: number, labels: string[]) => number} series the first cell, -1 without room
 * @property {(text: string) => void} warn
 */

/** @typedef {Record<string, string | number>} Labels */

class Meter {
  /** @param {any} definition @param {Home} home @param {{ family: number, buckets: number[] }} defined */
  constructor(definition, home, { family, buckets }) {
    this.definition = definition;
    this.name = definition.name;
    /** @type {string[]} */
    this.labels = definition.labels;
    this.home = home;
    this.cells = home.cells;
    this.family = family;
    this.buckets = buckets;
    /** The first cell of each series, by its labels. @type {Map<string, number>} */
    this.places = new Map();
    /** Their labels in order. @type {Map<string, string[]>} */
    this.values = new Map();
    this.isFull = false;
    if (this.labels.length === 0) this.place('', []);
  }

  /** Counts there from now on, and from where it was. @param {Home} home @param {{ family: number }} defined */
  move(home, { family }) {
    const { cells, places, definition, buckets } = this;
    const size = definition.kind === 'histogram' ? buckets.length + 2 : 1;
    this.home = home;
    this.cells = home.cells;
    this.family = family;
    this.places = new Map();
    this.isFull = false;
    for (const [key, from] of places) {
      const at = this.place(key, /** @type {string[]} */ (this.values.get(key)));
      for (let index = 0; at > 0 && index < size; index += 1) this.cells[at + index] = cells[from + index];
    }
  }

  /**
   * The first cell of the series; 0 when there is no room for it, which is counted.
   *
   * @param {Labels | undefined} labels
   */
  at(labels) {
    const key = this.labels.length === 0 && labels === undefined ? '' : this.keyOf(labels ?? {});
    const place = this.places.get(key);
    if (place !== undefined) return place;
    const at = this.isFull ? -1 : this.place(key, this.valuesOf(/** @type {Labels} */ (labels)));
    if (at > 0) return at;
    this.cells[DROPPED] += 1;
    return 0;
  }

  /** Each value with its length, so that no two sets of labels are one. @param {Labels} labels */
  keyOf(labels) {
    const names = this.labels;
    let key = '';
    for (let index = 0; index < names.length; index += 1) {
      const value = labels[names[index]];
      if (value === undefined || value === null) throw this.fault('labels', labels, `${names[index]} as well`);
      const text = typeof value === 'string' ? value : String(value);
      key += `${text.length}:${text}`;
    }
    let count = 0;
    for (const name in labels) if (labels[name] !== undefined) count += 1;
    if (count !== names.length) throw this.fault('labels', labels, names.length === 0 ? 'none' : names.join(', '));
    return key;
  }

  /** @param {Labels} labels */
  valuesOf(labels) {
    return this.labels.map((name) => String(labels[name]));
  }

  /** @param {string} key @param {string[]} values */
  place(key, values) {
    const at = this.home.series(this.family, values);
    if (at < 0) {
      this.isFull = true;
      this.home.warn(
        `The metric ${this.name} has no room for more values of its labels: they are counted in drover_metrics_dropped_total. Use labels with fewer values.`,
      );
      return at;
    }
    this.places.set(key, at);
    this.values.set(key, values);
    return at;
  }

  /** @param {string} what @param {unknown} found @param {string} allowed */
  fault(what, found, allowed) {
    const shown = typeof found === 'object' ? JSON.stringify(found) : String(found);
    const text = `The ${what} of the metric ${this.name}: found ${shown}, allowed: ${allowed}`;
    return new ClusterError(text, 'INVALID_ARGUMENT', { metric: this.name });
  }

  /** @param {unknown} value */
  notFinite(value) {
    return this.fault('value', value, 'a finite number');
  }
}

class Counter extends Meter {
  /**
   * `(value, labels)` or `(labels, value)`.
   *
   * @param {number | Labels} [first]
   * @param {Labels | number} [second]
   */
  inc(first, second) {
    const labels = typeof first === 'object' ? first : second;
    const value = typeof first === 'object' ? (second ?? 1) : (first ?? 1);
    if (!Number.isFinite(value) || /** @type {number} */ (value) < 0) {
      throw this.fault('value', value, 'a finite number from 0 on: a counter never goes back');
    }
    const at = this.at(/** @type {Labels | undefined} */ (labels));
    if (at > 0) this.cells[at] += /** @type {number} */ (value);
  }
}

class Gauge extends Meter {
  /** @param {number | Labels} first @param {Labels | number} [second] */
  set(first, second) {
    const [value, labels] = typeof first === 'object' ? [second, first] : [first, second];
    if (!Number.isFinite(value)) throw this.notFinite(value);
    const at = this.at(/** @type {Labels | undefined} */ (labels));
    if (at > 0) this.cells[at] = /** @type {number} */ (value);
  }

  /** @param {number | Labels} [first] @param {Labels | number} [second] */
  inc(first, second) {
    const [value, labels] = typeof first === 'object' ? [second ?? 1, first] : [first ?? 1, second];
    this.add(/** @type {number} */ (value), /** @type {Labels | undefined} */ (labels));
  }

  /** @param {number | Labels} [first] @param {Labels | number} [second] */
  dec(first, second) {
    const [value, labels] = typeof first === 'object' ? [second ?? 1, first] : [first ?? 1, second];
    this.add(-(/** @type {number} */ (value)), /** @type {Labels | undefined} */ (labels));
  }

  /** @param {number} value @param {Labels | undefined} labels */
  add(value, labels) {
    if (!Number.isFinite(value)) throw this.notFinite(value);
    const at = this.at(labels);
    if (at > 0) this.cells[at] += value;
  }
}

class Histogram extends Meter {
  /** @param {number | Labels} first @param {Labels | number} [second] */
  observe(first, second) {
    const labels = typeof first === 'object' ? first : second;
    const value = /** @type {number} */ (typeof first === 'object' ? second : first);
    if (!Number.isFinite(value)) throw this.notFinite(value);
    const at = this.at(/** @type {Labels | undefined} */ (labels));
    if (at === 0) return;
    const { buckets, cells } = this;
    let index = 0;
    while (index < buckets.length && value > buckets[index]) index += 1;
    cells[at + index] += 1;
    cells[at + buckets.length + 1] += value;
  }
}

exports.Counter = Counter;
exports.DROPPED = DROPPED;
exports.Gauge = Gauge;
exports.Histogram = Histogram;
