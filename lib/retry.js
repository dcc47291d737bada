// @ts-check
'use strict';

// `errorHandling.retry`: how long to wait before what failed is tried again.

/** @typedef {{ maxRetries: number, initialDelay: number, maxDelay: number }} Retry times in milliseconds */

/** None at all where `errorHandling` is switched off. @param {any} config with every default @returns {Retry} */
function retryOf({ errorHandling }) {
  return errorHandling.enabled ? errorHandling.retry : { ...errorHandling.retry, maxRetries: 0 };
}

/** The pause after so many tries, the first not counted; null: it is not tried again. @param {Retry | null} retry @param {number} tries */
function pauseAfter(retry, tries) {
  if (retry === null || tries >= retry.maxRetries) return null;
  return Math.min(retry.initialDelay * 2 ** tries, retry.maxDelay);
}

module.exports = { pauseAfter, retryOf };
