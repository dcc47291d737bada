// @ts-check
'use strict';

// What a program wants done before its process ends: run, or waited for, after the last request, before the exit. In a
// worker the primary's deadline bounds it; a process without a cluster has its own, from the signal on.

const { shared } = require('../symbols');

/** @typedef {(() => void | Promise<void>)[]} Hooks */

/** Those of this process, whichever of its applications they are about. @type {Hooks} */
const ofProcess = [];

/** @param {() => void | Promise<void>} hook @param {Hooks} [hooks] */
function onShutdown(hook, hooks = ofProcess) {
  if (typeof hook !== 'function') throw new TypeError(`onShutdown takes a function, not ${typeof hook}`);
  hooks.push(hook);
}

/**
 * Runs every hook once, all at the same time, then those that they have added. What one throws is printed and keeps no
 * other from its work.
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

/** What the process does not end before. @type {Set<Promise<unknown>>} */
const awaited = new Set();

/** Promises of the end itself, from any copy of the package: the end cannot wait for them. @type {WeakSet<object>} */
const ends = (/** @type {any} */ (globalThis)[shared.ends] ??= new WeakSet());

/** @template {Promise<unknown>} T @param {T} promise what resolves at the end @returns {T} */
function asEnd(promise) {
  ends.add(promise);
  return promise;
}

/**
 * Work that goes on after an answer: a process that stops in order waits for it.
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

/** Resolves when all that was given to `waitUntil` is settled, what is given meanwhile too. */
async function waitedFor() {
  while (awaited.size > 0) await Promise.all(awaited);
}

/** Whether something that was given to `waitUntil` is not settled. */
function isWaiting() {
  return awaited.size > 0;
}

module.exports = { asEnd, isWaiting, onShutdown, runHooks, waitUntil, waitedFor };
