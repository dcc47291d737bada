// @ts-check
'use strict';

// Keeps output that a worker writes at once and that belongs together in one log record. The primary splits the output
// into lines (src/log/split.rs); a line that continues in the next one ends with this mark.

const { constants } = require('../native');
const runtime = require('../runtime');

/** Precedes the end of a line whose record continues in the next one; unused without the core. */
const CONTINUES_MARK = constants?.logMarks.continues ?? '';

/** Matches a line end without this mark. @param {string} follows what must come after it */
const lineEnd = (follows) => new RegExp(`(?<!${CONTINUES_MARK})\\n${follows}`, 'g');

/** A line that continues the previous one: an indented line, a closing bracket, a row of a table. */
const CONTINUES = lineEnd('(?=[ \\t})\\]\\u2500-\\u257f])');
/**
 * The same for text with one character per byte: rows of tables begin with the first two bytes of their UTF-8
 * characters.
 */
const CONTINUES_IN_BYTES = lineEnd('(?=[ \\t})\\]]|\\xe2[\\x94\\x95])');
/** Every line except the first. */
const INNER = lineEnd('(?!$)');
/** The text contains a stack; its message may have several lines. */
const HAS_STACK = /\n {4,6}at /;

/**
 * Marks the line ends within records in a text that is written at once.
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

/** A chunk as text, for finding lines; bytes become one character each, so that they are converted back unchanged. */
function lineText(/** @type {any} */ chunk, /** @type {any} */ encoding) {
  if (typeof chunk === 'string') return /^(?:utf-?8)?$/i.test(encoding ?? '') ? chunk : undefined;
  if (!ArrayBuffer.isView(chunk)) return undefined;
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
}

/**
 * The chunk after applying `change` to its text.
 *
 * @param {any} chunk
 * @param {any} encoding
 * @param {(text: string, isBytes: boolean) => string} change
 */
function changed(chunk, encoding, change) {
  const text = lineText(chunk, encoding);
  if (text === undefined || text === '') return chunk;
  const isBytes = typeof chunk !== 'string';
  const changedText = change(text, isBytes);
  if (changedText === text) return chunk;
  return isBytes ? Buffer.from(changedText, 'latin1') : changedText;
}

/**
 * Changes what a stream writes, below its `write`: a `write` that the program has replaced sees the original text.
 *
 * @param {any} stream
 * @param {(text: string, isBytes: boolean) => string} change
 */
function changeWrites(stream, change) {
  runtime.changeChunks(stream, (chunk, encoding) => changed(chunk, encoding, change));
}

module.exports = { INNER, changeWrites, joined };
