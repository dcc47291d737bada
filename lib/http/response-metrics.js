// @ts-check
'use strict';

// A response is done: it is counted by its status and its time into a process's cells. Plain stores.

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

const LAST_BUCKET = BUCKETS - 1;

/** Between two looks at the heap, milliseconds; only a process that works looks. */
const HEAP_EVERY = 1000;

/** How fast the peak of the response time is forgotten, a response. */
const DECAY = 0.1;

/** @param {Float64Array} cells @param {boolean} measured whether more is counted than dispatch needs */
function answeredOf(cells, measured) {
  let looked = -Infinity;

  /** @param {number} duration @param {number} status 0: it never reached its client @param {number} at */
  function answered(duration, status, at) {
    cells[DURATION] += duration;
    const latency = cells[LATENCY];
    const micros = duration * 1000;
    cells[LATENCY] = micros > latency ? micros : latency + (micros - latency) * DECAY;
    if (status >= 500) {
      cells[FAILED] += 1;
      cells[STREAK] += 1;
    } else if (cells[STREAK] !== 0 && status !== 0) cells[STREAK] = 0;
    if (measured) measure(micros, status, at);
    // Last: whoever reads that no request is left sees what became of all of them.
    cells[RESPONSES] += 1;
  }

  /** What dispatch can do without. @param {number} micros @param {number} status @param {number} at */
  function measure(micros, status, at) {
    const bucket = micros > 1 ? (Math.log2(micros) * STEPS) | 0 : 0;
    cells[HISTOGRAM + (bucket < LAST_BUCKET ? bucket : LAST_BUCKET)] += 1;
    if (status >= 100 && status < 600) cells[STATUS - 1 + ((status / 100) | 0)] += 1;
    else cells[ABORTED] += 1;
    if (at - looked > HEAP_EVERY) {
      looked = at;
      lookAtHeap(cells);
    }
  }

  return answered;
}

/** @param {Float64Array} cells */
function lookAtHeap(cells) {
  const { heapUsed, heapTotal, external } = process.memoryUsage();
  cells[HEAP_USED] = heapUsed;
  cells[HEAP_TOTAL] = heapTotal;
  cells[EXTERNAL] = external;
}

module.exports = { answeredOf };
