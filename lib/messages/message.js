// @ts-check
'use strict';

// Parsing of a message's arguments, and the parts of a message.

const { addon } = require('../native');
const { fromCore } = require('../errors');

/** @param {any} message */
function typeOf(message) {
  const type = message !== null && typeof message === 'object' ? message.type : undefined;
  return typeof type === 'string' ? type : '';
}

/**
 * `(message, options)` or `(type, data, options)`.
 *
 * @param {any[]} args
 * @returns {{ message: any, options: { timeout?: number | string, self?: boolean, scope?: 'cluster' | 'fleet' } }}
 */
function read(args) {
  if (typeof args[0] !== 'string') return { message: args[0], options: args[1] ?? {} };
  return { message: { type: args[0], data: args[1] }, options: args[2] ?? {} };
}

/** The data of a message; a message without type and data is its own data. @param {any} message */
function dataOf(message) {
  return message !== null && typeof message === 'object' && 'data' in message ? message.data : message;
}

/** The caller's duration in milliseconds; -1 for none. @param {number | string | undefined} duration */
function milliseconds(duration) {
  if (duration === undefined) return -1;
  if (addon === null) return Number(duration);
  const { ok, error } = addon.readDuration(duration);
  if (error) throw fromCore(error);
  return ok;
}

module.exports = { dataOf, milliseconds, read, typeOf };
