// @ts-check
'use strict';

// Logs requests that took longer than `logging.slowRequests`: a few lines per second, the rest is counted.

const { addon } = require('../native');
const { knownId } = require('./request-ids');

/** Lines per second. */
const MAX_LINES = 10;

/** Maximum characters of a path in a line. */
const MAX_PATH = 200;

/** @typedef {(request: any, duration: number, status: number) => void} Report */

/** @param {number} limit milliseconds; 0: no request is slow @returns {Report | null} */
function slowRequestReporter(limit) {
  if (limit === 0) return null;
  let [second, lines, omitted] = [0, 0, 0];

  /** @param {any} request @param {number} duration milliseconds @param {number} status 0: its connection ended first */
  return function reportIfSlow(request, duration, status) {
    if (duration < limit) return;
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) [second, lines] = [now, 0];
    if (lines >= MAX_LINES) {
      omitted += 1;
      return;
    }
    lines += 1;
    addon.workerSlow({
      method: String(request?.method ?? ''),
      path: String(request?.url ?? '').split('?', 1)[0].slice(0, MAX_PATH),
      status,
      ms: Math.round(duration),
      requestId: knownId(request),
      suppressed: omitted,
    });
    omitted = 0;
  };
}

module.exports = { slowRequestReporter };
