// @ts-check
'use strict';

// How a message becomes a body and a body a message. JSON as JSON.stringify writes it, but for Buffers, which
// travel as they are and arrive as Buffers; or ('advanced') the runtime's structured clone.

const { randomBytes } = require('node:crypto');
const v8 = require('node:v8');

const JSON_TEXT = 0;
const CLONE = 1;
const JSON_AND_BUFFERS = 2;

/** Stands in a JSON text for a buffer; nobody else can know it. */
const token = randomBytes(12).toString('hex');

/** The buffers that the JSON.stringify of a message has met; null outside one. @type {Buffer[] | null} */
let met = null;

/** JSON.stringify asks each Buffer for its JSON: within a message it gets a place in a list instead. */
function watchBuffers() {
  const { toJSON } = Buffer.prototype;
  Buffer.prototype.toJSON = function () {
    return met === null ? toJSON.call(this) : /** @type {any} */ ({ [token]: met.push(this) - 1 });
  };
}

let watching = false;

/**
 * @param {any} message
 * @returns {{ format: number, body: string | Buffer }}
 */
function jsonOf(message) {
  if (!watching) {
    watching = true;
    watchBuffers();
  }
  met = null;
  const list = (met = /** @type {Buffer[]} */ ([]));
  /** @type {string | undefined} */
  let text;
  try {
    text = JSON.stringify(message);
  } finally {
    met = null;
  }
  if (list.length === 0) return { format: JSON_TEXT, body: text ?? '' };
  const parts = [];
  for (const part of [Buffer.from(text ?? ''), Buffer.from(token), ...list]) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(part.length);
    parts.push(length, part);
  }
  return { format: JSON_AND_BUFFERS, body: Buffer.concat(parts) };
}

/**
 * The body of a message or an answer; `undefined` is an empty one.
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

module.exports = { JSON_TEXT, decode, encode };
