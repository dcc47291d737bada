// @ts-check
'use strict';

// Counts finished responses by status and time in a process's cells, with plain stores. src/metrics/responses.rs does the same
// for connections that the core follows.

const {
  ABORTED,
  BUCKETS,
  DURATION,
  EXTERNAL,
  FAILED,
  HEAP_TOTAL,
  HEAP_USED,
  HISTOGRAM,
  LATENCY,
  RESPONSES,
  STATUS,
  STEPS,
  STREAK,
} = require('../metrics/cells');
const runtime = require('../runtime');

const LAST_BUCKET = BUCKETS - 1;

/** Interval between two readings of the heap size, milliseconds; only a process with requests reads it. */
const HEAP_INTERVAL = 1000;

/** Decay of the response-time peak per response. */
const DECAY = 0.1;

/** @param {Float64Array} cells @param {boolean} isMeasured whether more is counted than dispatch needs */
function responseCounter(cells, isMeasured) {
  const seeHeap = heapReader(cells, isMeasured);

  /** @param {number} duration milliseconds @param {number} status 0: it never reached its client @param {number} at */
  return function countResponse(duration, status, at) {
    cells[DURATION] += duration;
    const latency = cells[LATENCY];
    const micros = duration * 1000;
    cells[LATENCY] = micros > latency ? micros : latency + (micros - latency) * DECAY;
    if (status >= 500) {
      cells[FAILED] += 1;
      cells[STREAK] += 1;
    } else if (cells[STREAK] !== 0 && status !== 0) cells[STREAK] = 0;
    if (isMeasured) {
      const bucket = micros > 1 ? (Math.log2(micros) * STEPS) | 0 : 0;
      cells[HISTOGRAM + (bucket < LAST_BUCKET ? bucket : LAST_BUCKET)] += 1;
      if (status >= 100 && status < 600) cells[STATUS - 1 + ((status / 100) | 0)] += 1;
      else cells[ABORTED] += 1;
    }
    seeHeap(at);
    // Last, so that a reader that sees no active request sees the counts of all finished ones.
    cells[RESPONSES] += 1;
  };
}

/**
 * Reads the heap's size once in HEAP_INTERVAL at most, when it is called. Never if `isMeasured` is false.
 *
 * @param {Float64Array} cells
 * @param {boolean} isMeasured
 */
function heapReader(cells, isMeasured) {
  let readAt = isMeasured ? -Infinity : Infinity;

  /** @param {number} at milliseconds */
  return function seeHeap(at) {
    if (at - readAt <= HEAP_INTERVAL) return;
    readAt = at;
    readHeap(cells);
  };
}

/** @param {Float64Array} cells */
function readHeap(cells) {
  const { heapUsed, heapTotal, external } = runtime.memoryUsage();
  cells[HEAP_USED] = heapUsed;
  cells[HEAP_TOTAL] = heapTotal;
  cells[EXTERNAL] = external;
}

module.exports = { heapReader, responseCounter };
