// @ts-check
'use strict';

// Work before the end of a process: hooks to run and promises to wait for, after the last request and before the exit.
// In a worker the primary's deadline limits it; a process without a cluster has its own deadline, from the signal on.

const { shared } = require('../symbols');

/** @typedef {(() => void | Promise<void>)[]} Hooks */

/** The hooks of this process, of all its applications. @type {Hooks} */
const ofProcess = [];

/** @param {() => void | Promise<void>} hook @param {Hooks} [hooks] */
function onShutdown(hook, hooks = ofProcess) {
  if (typeof hook !== 'function') throw new TypeError(`onShutdown takes a function, not ${typeof hook}`);
  hooks.push(hook);
}

/**
 * Runs every hook once, all concurrently, then those that they have added. An error is printed and does not stop other
 * hooks.
 *
 * @param {Hooks} [hooks]
 */
async function runHooks(hooks = ofProcess) {
  while (hooks.length > 0) {
    const run = hooks.splice(0).map(async (hook) => hook());
    for (const result of await Promise.allSettled(run)) {
      if (result.status === 'rejected') console.error('drover: an onShutdown hook failed:', result.reason);
    }
  }
}

/** Promises that a stop waits for. @type {Set<Promise<unknown>>} */
const awaited = new Set();

/**
 * Promises that resolve when the process stops, from any copy of the package: a stop cannot wait for them.
 * @type {WeakSet<object>}
 */
const ends = (/** @type {any} */ (globalThis)[shared.ends] ??= new WeakSet());

/** @template {Promise<unknown>} T @param {T} promise resolves when the process stops @returns {T} */
function asEnd(promise) {
  ends.add(promise);
  return promise;
}

/**
 * Registers work that continues after a response: a graceful stop waits for it.
 *
 * @param {PromiseLike<unknown>} promise
 */
function waitUntil(promise) {
  if (typeof promise?.then !== 'function') throw new TypeError(`waitUntil takes a promise, not ${typeof promise}`);
  if (ends.has(promise)) return;
  const settled = Promise.resolve(promise)
    .catch((reason) => console.error('drover: a promise that was given to waitUntil was rejected:', reason))
    .finally(() => awaited.delete(settled));
  awaited.add(settled);
}

/** Resolves when all promises given to `waitUntil` are settled, including those given meanwhile. */
async function waitedFor() {
  while (awaited.size > 0) await Promise.all(awaited);
}

/** Whether a promise given to `waitUntil` is pending. */
function isWaiting() {
  return awaited.size > 0;
}

module.exports = { asEnd, isWaiting, onShutdown, runHooks, waitUntil, waitedFor };
