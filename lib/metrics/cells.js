// @ts-check
'use strict';

// A process's cells in the shared memory, by name: what src/metrics/layout.rs calls a page, and says the meaning of. Its
// tests hold these numbers to those.

module.exports = {
  CLOSED: 8,
  REQUESTS: 9,
  RESPONSES: 10,
  DURATION: 11,
  LATENCY: 12,
  AFFINITY_MISMATCH: 13,
  CLOCK: 14,
  ABORTED: 15,
  STATUS: 16,
  HEAP_USED: 21,
  HEAP_TOTAL: 22,
  EXTERNAL: 23,
  FAILED: 24,
  STREAK: 25,
  RECEIVED: 26,
  SENT: 27,
  HISTOGRAM: 128,
  /** Buckets of the response times for each doubling, and how many there are: see src/metrics/histogram.rs. */
  STEPS: 12,
  BUCKETS: 360,
};
