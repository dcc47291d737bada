// @ts-check
'use strict';

// What a message is, how its body is written, and the names of processes, as numbers of the core's. Without the core a
// process's messages only reach itself: then any numbers do that differ.

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

/** The slot of the worker with this name. @param {number} name */
const slotOf = (name) => String(name % numbers.GENERATION);

/** A message's id, format and kind, as one number. @param {number} id @param {number} format @param {number} what */
const packHead = (id, format, what) => id * 16 + format * 4 + what;

/** @param {number} head */
const unpackHead = (head) => ({ what: head & 3, format: (head >> 2) & 3, id: Math.floor(head / 16) });

module.exports = { ...numbers, packHead, slotOf, unpackHead };
