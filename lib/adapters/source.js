// @ts-check
'use strict';

// Where an adapter keeps what it has: the part of the cache that it uses, and the fleet.

const { inspect } = require('node:util');
const { fleetOf: fleetOfCache, keepLocal } = require('../cache/cache');
const { ClusterError } = require('../errors');
const { addon } = require('../native');

/** @typedef {import('../../types/cache').Cache} Cache */
/** @typedef {import('../fleet/fleet').Fleet} Fleet */

/**
 * A namespace as it was given; of a whole cache or an app the namespace `name`, so that what the program does with its
 * own keys leaves the adapter's alone.
 *
 * @param {any} source an app or a cache
 * @param {string} name
 * @returns {Cache}
 */
function cacheOf(source, name) {
  const cache = typeof source?.namespace === 'function' ? source : source?.cache;
  if (typeof cache?.namespace !== 'function') {
    throw new ClusterError(`found ${inspect(source, { depth: 0 })}, allowed: an app of drover, its cache or a namespace of it`, 'INVALID_ARGUMENT');
  }
  return cache.name === '' ? cache.namespace(name) : cache;
}

/**
 * The same for what belongs to this machine, and is not invalidated by others.
 *
 * @param {any} source an app or a cache
 * @param {string} name
 * @returns {Cache}
 */
function localCacheOf(source, name) {
  const cache = cacheOf(source, name);
  keepLocal(/** @type {any} */ (cache));
  return cache;
}

/** The fleet whose Redis has what the adapter keeps; null: there is none. @param {any} source an app or a cache @returns {Fleet | null} */
function fleetOf(source) {
  return fleetOfCache(typeof source?.namespace === 'function' ? source : source?.cache);
}

/**
 * Beside a namespace, what only this machine has while Redis is away: other machines invalidate nothing in it.
 *
 * @param {Cache} cache
 * @returns {Cache}
 */
function localBeside(cache) {
  const local = cache.namespace(`${cache.name} of this machine`);
  keepLocal(/** @type {any} */ (local));
  return local;
}

/** The beginning of a space in Redis, which no other namespace's begins with. @param {string} kind @param {Cache} cache */
function spaceOf(kind, cache) {
  return `${kind}:${encodeURIComponent(cache.name)}`;
}

/** A text that patterns must take as it is. @param {string} what @param {any} text @returns {string} */
function plainText(what, text) {
  if (typeof text === 'string' && !/[\0*]/.test(text)) return text;
  throw new ClusterError(`${what}: found ${inspect(text)}, allowed: a text without '*' and NUL characters`, 'INVALID_ARGUMENT');
}

/** @param {string} what @param {any} value @returns {number} */
function milliseconds(what, value) {
  const parsed = typeof value === 'string' ? addon.parseDuration(value) : value;
  if (typeof parsed === 'number' && parsed >= 0) return parsed;
  throw new ClusterError(`${what}: found ${inspect(value)}, allowed: milliseconds, or a text such as '30s' or '5m'`, 'INVALID_ARGUMENT');
}

exports.cacheOf = cacheOf;
exports.fleetOf = fleetOf;
exports.localBeside = localBeside;
exports.localCacheOf = localCacheOf;
exports.milliseconds = milliseconds;
exports.plainText = plainText;
exports.spaceOf = spaceOf;
