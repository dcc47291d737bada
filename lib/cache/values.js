// @ts-check
'use strict';

// Values as they are stored: texts and Buffers as they are, everything else as JSON or as the runtime's structured clone.

const { inspect } = require('node:util');
const v8 = require('node:v8');
const { ClusterError } = require('../errors');
const { constants } = require('../native');

const kinds = constants?.cache.kind ?? {};
const { TEXT, WIDE_TEXT, BYTES, JSON_TEXT, CLONE } = kinds;

/** @typedef {{ kind: number, body: string | Uint8Array }} Encoded */

/**
 * @param {any} value
 * @param {boolean} advanced objects as structured clones
 * @returns {Encoded}
 */
function encode(value, advanced) {
  if (typeof value === 'string') return { kind: TEXT, body: value };
  if (value instanceof Uint8Array) return { kind: BYTES, body: value };
  const body = advanced && value !== undefined ? v8.serialize(value) : JSON.stringify(value);
  if (body === undefined) {
    const allowed = 'a value that JSON can represent (null for "nothing")';
    throw new ClusterError(`cache: found the value ${inspect(value)}, allowed: ${allowed}`, 'INVALID_ARGUMENT');
  }
  return { kind: typeof body === 'string' ? JSON_TEXT : CLONE, body };
}

/**
 * A new value each time, so that a program may change what it gets.
 *
 * @param {number} kind
 * @param {any} body
 */
function decode(kind, body) {
  if (kind === TEXT || kind === WIDE_TEXT) return body;
  if (kind === BYTES) return Buffer.from(body);
  return kind === CLONE ? v8.deserialize(body) : JSON.parse(body);
}

module.exports = { decode, encode };
