// @ts-check
'use strict';

// Serialization of messages: JSON as JSON.stringify writes it, except Buffers, which are sent without conversion and
// arrive as Buffers; or ('advanced') the runtime's structured clone.

const { randomBytes } = require('node:crypto');
const v8 = require('node:v8');
const { CLONE, JSON_AND_BUFFERS, JSON_TEXT } = require('./numbers');

/** Placeholder of a Buffer in a JSON text; random, so that no message can contain it. */
const token = randomBytes(12).toString('hex');

/**
 * Occurs in the JSON text of a Buffer that was not replaced; it begins with a rare letter, which makes the search fast.
 */
const BUFFER_TEXT = 'Buffer","data":[';

/** @param {any} value an object, or not */
function hasBuffer(value) {
  if (value === null || typeof value !== 'object') return false;
  if (Array.isArray(value)) return value.some((item) => typeof item === 'object' && Buffer.isBuffer(item));
  for (const key in value) {
    const own = value[key];
    if (typeof own === 'object' && Buffer.isBuffer(own)) return true;
  }
  return false;
}

/** What `look` finds out about the Buffers of a value. */
const NONE = 0;
const UNKNOWN = 1;
const SHOWN = 2;

const { isView } = ArrayBuffer;

/**
 * Whether a value has a Buffer in the usual places: it is one, or one of its members or of their members is. What is nested
 * deeper, or written by a `toJSON`, is UNKNOWN.
 *
 * @param {any} value
 * @param {number} levels how many levels of members to look at
 * @returns {number}
 */
function look(value, levels) {
  if (typeof value === 'function') return UNKNOWN;
  if (value === null || typeof value !== 'object') return NONE;
  if (isView(value)) return Buffer.isBuffer(value) ? SHOWN : UNKNOWN;
  if (levels === 0 || typeof value.toJSON === 'function') return UNKNOWN;
  if (Array.isArray(value)) return value.some((item) => typeof item === 'object' && Buffer.isBuffer(item)) ? SHOWN : UNKNOWN;
  let seen = NONE;
  for (const key in value) {
    const own = value[key];
    // Most members are strings and numbers: they are not worth a call.
    if (typeof own === 'string' || typeof own === 'number') continue;
    const shown = look(own, levels - 1);
    if (shown === SHOWN) return SHOWN;
    if (shown === UNKNOWN) seen = UNKNOWN;
  }
  return seen;
}

/**
 * The JSON text of a message with a placeholder for each Buffer, and the Buffers. JSON.stringify reads an object's
 * members after it has called the replacer with the object, so `toJSON` of a Buffer is never called.
 *
 * @param {any} message
 */
function textAndBuffers(message) {
  /** @type {Buffer[]} */
  const buffers = [];
  /** Copies of objects that have a Buffer, so that a cycle remains a cycle. @type {Map<object, object>} */
  const copies = new Map();
  const replaced = (/** @type {any} */ value) => (Buffer.isBuffer(value) ? { [token]: buffers.push(value) - 1 } : value);
  /** @param {string} _key @param {any} value */
  const replacer = (_key, value) => {
    if (!hasBuffer(value)) return value;
    const known = copies.get(value);
    if (known !== undefined) return known;
    const copy = Array.isArray(value) ? value.map(replaced) : Object.fromEntries(Object.entries(value).map(([key, own]) => [key, replaced(own)]));
    copies.set(value, copy);
    return copy;
  };
  return { text: JSON.stringify(replaced(message), replacer), buffers };
}

/**
 * @param {any} message
 * @returns {{ format: number, body: string | Buffer }}
 */
function jsonOf(message) {
  const shown = look(message, 2);
  if (shown !== SHOWN) {
    const text = JSON.stringify(message) ?? '';
    if (shown === NONE || !text.includes(BUFFER_TEXT)) return { format: JSON_TEXT, body: text };
  }
  const { text, buffers } = textAndBuffers(message);
  if (buffers.length === 0) return { format: JSON_TEXT, body: text ?? '' };
  const parts = [];
  for (const part of [Buffer.from(text), Buffer.from(token), ...buffers]) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(part.length);
    parts.push(length, part);
  }
  return { format: JSON_AND_BUFFERS, body: Buffer.concat(parts) };
}

/**
 * The body of a message or a response; `undefined` is an empty body.
 *
 * @param {any} message
 * @param {boolean} advanced
 * @returns {{ format: number, body: string | Buffer }}
 */
function encode(message, advanced) {
  return advanced ? { format: CLONE, body: v8.serialize(message) } : jsonOf(message);
}

/** @param {Buffer} body */
function split(body) {
  const parts = [];
  for (let at = 0; at + 4 <= body.length; ) {
    const length = body.readUInt32LE(at);
    parts.push(body.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return parts;
}

/**
 * @param {number} format
 * @param {any} body
 */
function decode(format, body) {
  if (format === JSON_TEXT) return body === '' ? undefined : JSON.parse(body);
  if (format === CLONE) return v8.deserialize(body);
  const [text, sign, ...buffers] = split(body);
  const key = sign.toString();
  return JSON.parse(text.toString(), (_, value) => {
    const index = value !== null && typeof value === 'object' ? value[key] : undefined;
    return index === undefined ? value : buffers[index];
  });
}

module.exports = { decode, encode };
