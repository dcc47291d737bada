// @ts-check
'use strict';

// Requests that took longer than `logging.slowRequests`: a line each for a few a second, the rest counted.

const { addon } = require('../native');
const { knownId } = require('./request-ids');

/** So many are told a second. */
const MOST = 10;

/** @typedef {(request: any, duration: number, status: number) => void} Look */

/** @param {number} limit milliseconds; 0: no request is slow @returns {Look | null} */
function tellSlow(limit) {
  if (limit === 0) return null;
  let [second, told, unsaid] = [0, 0, 0];

  /** @param {any} request @param {number} duration milliseconds @param {number} status 0: its connection ended first */
  return function look(request, duration, status) {
    if (duration < limit) return;
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) [second, told] = [now, 0];
    if (told >= MOST) {
      unsaid += 1;
      return;
    }
    told += 1;
    const path = String(request?.url ?? '').split('?', 1)[0].slice(0, 200);
    addon.workerSlow({
      method: String(request?.method ?? ''),
      path,
      status,
      ms: Math.round(duration),
      requestId: knownId(request),
      unsaid,
    });
    unsaid = 0;
  };
}

module.exports = { tellSlow };
