// @ts-check
'use strict';

// The part of the cache that an adapter uses.

const { inspect } = require('node:util');
const { ClusterError } = require('../errors');

/** @typedef {import('../../types/cache').Cache} Cache */

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

/** A text that patterns must take as it is. @param {string} what @param {any} text @returns {string} */
function plainText(what, text) {
  if (typeof text === 'string' && !/[\0*]/.test(text)) return text;
  throw new ClusterError(`${what}: found ${inspect(text)}, allowed: a text without '*' and NUL characters`, 'INVALID_ARGUMENT');
}

exports.cacheOf = cacheOf;
exports.plainText = plainText;
