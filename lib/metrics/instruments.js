// @ts-check
'use strict';

// The program's own counters, gauges and histograms. Recording a value is a plain store into shared memory; only the
// first use of a set of labels allocates cells in the core.

const { ClusterError } = require('../errors');
const { METRICS_DROPPED } = require('./cells');

/**
 * The memory in which a process counts.
 *
 * @typedef {object} Store
 * @property {Float64Array} cells
 * @property {(definition: any) => { family: number, buckets: number[] }} define
 * @property {(family: number, labels: string[]) => number} series the first cell, -1 without room
 * @property {() => any} snapshot the current values
 * @property {(text: string) => void} warn
 */

/** @typedef {Record<string, string | number>} Labels */

class Instrument {
  /** @param {any} definition @param {Store} store @param {{ family: number, buckets: number[] }} defined */
  constructor(definition, store, { family, buckets }) {
    this.definition = definition;
    this.name = definition.name;
    /** @type {string[]} */
    this.labels = definition.labels;
    this.store = store;
    this.cells = store.cells;
    this.family = family;
    this.buckets = buckets;
    /** The first cell of each series: nested maps, one level per label, keyed by value. @type {Map<string, any>} */
    this.byLabel = new Map();
    /** @type {{ labels: string[], at: number }[]} */
    this.series = [];
    /** The only series of a metric without labels. */
    this.only = 0;
    this.isFull = false;
    if (this.labels.length === 0) this.addSeries([]);
  }

  /**
   * Moves to another store and carries the current values over.
   *
   * @param {Store} store
   * @param {{ family: number }} defined
   */
  move(store, { family }) {
    const { cells, series, definition, buckets } = this;
    const size = definition.kind === 'histogram' ? buckets.length + 2 : 1;
    this.store = store;
    this.cells = store.cells;
    this.family = family;
    this.byLabel = new Map();
    this.series = [];
    this.only = 0;
    this.isFull = false;
    for (const { labels, at: from } of series) {
      const at = this.addSeries(labels);
      for (let index = 0; at > 0 && index < size; index += 1) this.cells[at + index] = cells[from + index];
    }
  }

  /**
   * The first cell of the series; 0 if there is no room for it, which is counted.
   *
   * @param {Labels | undefined} labels
   */
  at(labels) {
    if (labels === undefined && this.only > 0) return this.only;
    const at = this.find(labels ?? {});
    if (at > 0) return at;
    this.cells[METRICS_DROPPED] += 1;
    return 0;
  }

  /** @param {Labels} labels @returns {number} */
  find(labels) {
    const names = this.labels;
    /** @type {any} */
    let found = this.byLabel;
    for (let index = 0; index < names.length; index += 1) {
      const value = labels[names[index]];
      if (value === undefined || value === null) throw this.fault('labels', labels, `${names[index]} as well`);
      if (found !== undefined) found = found.get(typeof value === 'string' ? value : String(value));
    }
    let count = 0;
    for (const name in labels) if (labels[name] !== undefined) count += 1;
    if (count !== names.length) throw this.fault('labels', labels, names.length === 0 ? 'none' : names.join(', '));
    if (names.length === 0) return this.only;
    if (found !== undefined) return found;
    return this.isFull ? 0 : this.addSeries(names.map((name) => String(labels[name])));
  }

  /** Allocates a new series; returns its first cell, 0 without room. @param {string[]} labels */
  addSeries(labels) {
    const at = this.store.series(this.family, labels);
    if (at < 0) {
      this.isFull = true;
      this.store.warn(
        `The metric ${this.name} has no room for more values of its labels: they are counted in drover_metrics_dropped_total. Use labels with fewer values.`,
      );
      return 0;
    }
    this.series.push({ labels, at });
    if (labels.length === 0) this.only = at;
    let level = this.byLabel;
    labels.forEach((value, index) => {
      if (index === labels.length - 1) return level.set(value, at);
      const next = level.get(value) ?? new Map();
      level.set(value, next);
      level = next;
      return level;
    });
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

class Counter extends Instrument {
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

class Gauge extends Instrument {
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

class Histogram extends Instrument {
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
exports.Gauge = Gauge;
exports.Histogram = Histogram;
