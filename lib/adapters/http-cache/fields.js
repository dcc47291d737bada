// @ts-check
'use strict';

// Reads the header fields that decide about caching (RFC 9110, 9111). Values come from anybody, so whatever cannot be
// read counts as the stricter of its possible meanings.

/** Larger deltas count as this (RFC 9111, 1.2.2). */
const MAX_DELTA = 2 ** 31;

/** @typedef {Record<string, number | string | string[] | undefined>} Fields by lower-case name */
/** @typedef {Map<string, string | true>} Directives of Cache-Control: name and argument, or true without one */

/** All values of a field in one text; undefined: it is absent. @param {Fields} fields @param {string} name */
function textOf(fields, name) {
  const value = fields[name];
  if (value === undefined) return undefined;
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** A name, and after `=` a token or a quoted string, up to the next comma. */
const DIRECTIVE = /([^\s,;="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^,]*)))?/g;

/**
 * The directives of Cache-Control. Of a directive that is repeated the smaller number counts, and one without an argument
 * before one with.
 *
 * @param {string | undefined} text
 * @returns {Directives}
 */
function cacheControl(text) {
  /** @type {Directives} */
  const directives = new Map();
  for (const [, name, quoted, plain] of (text ?? '').matchAll(DIRECTIVE)) {
    const key = name.toLowerCase();
    const argument = quoted?.replace(/\\(.)/g, '$1') ?? plain?.trim() ?? true;
    const known = directives.get(key);
    directives.set(key, known === undefined ? argument : stricter(known, argument));
  }
  return directives;
}

/** @param {string | true} one @param {string | true} other */
function stricter(one, other) {
  if (one === true || other === true) return true;
  return seconds(other) < seconds(one) ? other : one;
}

/** The argument of a directive such as max-age; 0 if it cannot be read. @param {string | true | undefined} argument */
function seconds(argument) {
  return typeof argument === 'string' && /^\d+$/.test(argument) ? Math.min(Number(argument), MAX_DELTA) : 0;
}

/** A field whose value is a number of seconds, such as Age. @param {string | undefined} text @returns {number} */
function secondsOf(text) {
  const first = text?.split(',', 1)[0].trim();
  return first !== undefined && /^\d+$/.test(first) ? Math.min(Number(first), MAX_DELTA) : 0;
}

const DAYS = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const LONG_DAYS = '(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)';
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH = `(?<month>${MONTHS.join('|')})`;
const TIME = '(?<hour>\\d\\d):(?<minute>\\d\\d):(?<second>\\d\\d)';
/** The three forms of a date (RFC 9110, 5.6.7). */
const DATES = [
  new RegExp(`^${DAYS}, (?<day>\\d\\d) ${MONTH} (?<year>\\d{4}) ${TIME} GMT$`, 'i'),
  new RegExp(`^${LONG_DAYS}, (?<day>\\d\\d)-${MONTH}-(?<year>\\d\\d) ${TIME} GMT$`, 'i'),
  new RegExp(`^${DAYS} ${MONTH} (?<day>[ \\d]\\d) ${TIME} (?<year>\\d{4})$`, 'i'),
];

/** Milliseconds since 1970; undefined: it is no date. @param {string | undefined} text */
function dateOf(text) {
  if (text === undefined) return undefined;
  for (const form of DATES) {
    const groups = form.exec(text.trim())?.groups;
    if (groups === undefined) continue;
    const month = MONTHS.findIndex((name) => name.toLowerCase() === groups.month.toLowerCase());
    const time = Date.UTC(yearOf(groups.year), month, Number(groups.day), Number(groups.hour), Number(groups.minute), Number(groups.second));
    return Number.isNaN(time) ? undefined : time;
  }
  return undefined;
}

/** Of two digits, the year that is at most 50 years ahead. @param {string} text */
function yearOf(text) {
  const year = Number(text);
  if (text.length > 2) return year;
  return year >= 70 ? 1900 + year : 2000 + year;
}

/** The members of a list of names, in lower case. @param {string | undefined} text */
function names(text) {
  return (text ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
}

/** The entity tags of If-None-Match; `*` among them. @param {string} text */
function tags(text) {
  return [...text.matchAll(/(?:W\/)?"[^"]*"|\*|[^\s,"]+/g)].map(([tag]) => tag);
}

/** Compares two entity tags weakly (RFC 9110, 8.8.3.2). @param {string} one @param {string} other */
function matches(one, other) {
  return opaque(one) === opaque(other);
}

/** @param {string} tag */
function opaque(tag) {
  return tag.startsWith('W/') ? tag.slice(2) : tag;
}

module.exports = { cacheControl, dateOf, matches, names, seconds, secondsOf, tags, textOf };
