// @ts-check
'use strict';

// What a worker writes at once and what belongs together stays one record of the log. The primary splits the output into
// lines (src/log/split.rs); a line that goes on in the next ends with this mark.

const { constants } = require('../native');
const runtime = require('../runtime');

/** Before the end of a line whose record goes on in the next; without the core nobody reads it. */
const CONTINUES_MARK = constants?.logMarks.continues ?? '';

/** A line end that is not marked so. @param {string} follows what must come after it */
const lineEnd = (follows) => new RegExp(`(?<!${CONTINUES_MARK})\\n${follows}`, 'g');

/** A line that continues the one before it: indented, the end of something in brackets, a row of a table. */
const CONTINUES = lineEnd('(?=[ \\t})\\]\\u2500-\\u257f])');
/** The same for text that is bytes, one a character: rows of tables begin with the first two bytes of theirs. */
const CONTINUES_IN_BYTES = lineEnd('(?=[ \\t})\\]]|\\xe2[\\x94\\x95])');
/** Every line but the first. */
const INNER = lineEnd('(?!$)');
/** A stack is in it: its message may have several lines. */
const HAS_STACK = /\n {4}at /;

/**
 * A text that is written at once, with its line ends marked that are within a record.
 *
 * @param {string} text
 * @param {boolean} isBytes each character is a byte
 */
function joined(text, isBytes) {
  const end = text.indexOf('\n');
  if (end < 0 || end === text.length - 1) return text;
  const within = HAS_STACK.test(text) ? INNER : isBytes ? CONTINUES_IN_BYTES : CONTINUES;
  return text.replace(within, `${CONTINUES_MARK}\n`);
}

/** A chunk as a text in which lines can be found; each byte becomes one character, so that they come back as they were. */
function lineText(/** @type {any} */ chunk, /** @type {any} */ encoding) {
  if (typeof chunk === 'string') return /^(?:utf-?8)?$/i.test(encoding ?? '') ? chunk : undefined;
  if (!ArrayBuffer.isView(chunk)) return undefined;
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
}

/** The chunk with its text changed by `change`. @param {any} chunk @param {any} encoding @param {(text: string, isBytes: boolean) => string} change */
function changed(chunk, encoding, change) {
  const text = lineText(chunk, encoding);
  if (text === undefined || text === '') return chunk;
  const isBytes = typeof chunk !== 'string';
  const changedText = change(text, isBytes);
  if (changedText === text) return chunk;
  return isBytes ? Buffer.from(changedText, 'latin1') : changedText;
}

/**
 * Changes what a stream writes, below its `write`, which is the program's: what it has put in its place sees what it
 * wrote.
 *
 * @param {any} stream
 * @param {(text: string, isBytes: boolean) => string} change
 */
function changeWrites(stream, change) {
  runtime.changeChunks(stream, (chunk, encoding) => changed(chunk, encoding, change));
}

module.exports = { INNER, changeWrites, joined };
