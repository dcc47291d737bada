// @ts-check
'use strict';

// Message kinds, body formats and process ids as numbers defined by the core. Without the core messages stay in the
// process, and any distinct numbers will do.

const { constants } = require('../native');

/** @type {import('../../binding').Messages} */
const withoutCore = {
  NOTIFICATION: 0,
  REQUEST: 1,
  RESPONSE: 2,
  FAILURE: 3,
  JSON_TEXT: 0,
  CLONE: 1,
  JSON_AND_BUFFERS: 2,
  PRIMARY: -1,
  REFUSED: -1,
  NOBODY: -2,
  GENERATION: 65_536,
};

const numbers = constants?.messages ?? withoutCore;

/** The slot of the worker with this id. @param {number} name */
const slotOf = (name) => String(name % numbers.GENERATION);

/** A message's id, format and kind, as one number. @param {number} id @param {number} format @param {number} what */
const packHead = (id, format, what) => id * 16 + format * 4 + what;

/** @param {number} head */
const unpackHead = (head) => ({ what: head & 3, format: (head >> 2) & 3, id: Math.floor(head / 16) });

module.exports = { ...numbers, packHead, slotOf, unpackHead };
