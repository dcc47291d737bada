// @ts-check
'use strict';

// `errorHandling.retry`: the delays between attempts.

/** @typedef {{ maxRetries: number, initialDelay: number, maxDelay: number }} Retry times in milliseconds */

/** No retries if `errorHandling` is switched off. @param {any} config with every default @returns {Retry} */
function retryOf({ errorHandling }) {
  return errorHandling.enabled ? errorHandling.retry : { ...errorHandling.retry, maxRetries: 0 };
}

/**
 * The delay before the next attempt, after `tries` retries; null: no further attempt.
 *
 * @param {Retry | null} retry
 * @param {number} tries
 */
function pauseAfter(retry, tries) {
  if (retry === null || tries >= retry.maxRetries) return null;
  return Math.min(retry.initialDelay * 2 ** tries, retry.maxDelay);
}

module.exports = { pauseAfter, retryOf };
