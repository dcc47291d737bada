// @ts-check
'use strict';

// What the program writes to its standard streams: by `process.stdout` and `process.stderr`, and by `console`, which under
// Bun writes to the descriptors itself. In its place comes a console of JavaScript that formats as Bun's.
//
// Relies on: `process.stdout` and `process.stderr` are plain values; the methods of `console` can be replaced; a Console's
// symbols 'kFormatForStdout' and 'kFormatForStderr' are its formatting methods; `Bun.inspect` formats as Bun's console.
// Seen on: Bun 1.4.4, 1.4.5.

const { isatty } = require('node:tty');
const { format } = require('node:util');
const { Sink } = require('./stream-writes');

const { Bun } = /** @type {any} */ (globalThis);

const [STDOUT, STDERR] = [1, 2];

/** How deep Bun's console shows an object. */
const DEPTH = 2;

const DIRECTIVE = /%[sdifjoOc%]/g;

/** The methods of `console` that write. */
const METHODS = /** @type {const} */ ([
  'assert',
  'count',
  'countReset',
  'debug',
  'dir',
  'dirxml',
  'error',
  'group',
  'groupCollapsed',
  'groupEnd',
  'info',
  'log',
  'table',
  'time',
  'timeEnd',
  'timeLog',
  'trace',
  'warn',
]);

/** Formats the arguments of `console.log` as Bun does. @param {any[]} args @param {number} fd */
function formatted(args, fd) {
  const colors = Bun.enableANSIColors && isatty(fd);
  const shown = (/** @type {any} */ value) => (typeof value === 'string' ? value : Bun.inspect(value, { depth: DEPTH, colors }));
  const [first, ...rest] = args;
  if (typeof first !== 'string' || rest.length === 0) return args.map(shown).join(' ');
  const head = first.replace(DIRECTIVE, (directive) => {
    if (directive === '%%') return '%';
    if (rest.length === 0) return directive;
    const value = rest.shift();
    return directive === '%o' || directive === '%O' ? Bun.inspect(value, { depth: DEPTH, colors }) : format(directive, value);
  });
  return [head, ...rest.map(shown)].join(' ');
}

/** @param {any} stdout @param {any} stderr */
function consoleOf(stdout, stderr) {
  const made = /** @type {any} */ (new console.Console({ stdout, stderr, ignoreErrors: true }));
  const symbols = Object.getOwnPropertySymbols(console.Console.prototype);
  for (const [name, fd] of /** @type {const} */ ([['kFormatForStdout', STDOUT], ['kFormatForStderr', STDERR]])) {
    const symbol = symbols.find(({ description }) => description === name);
    if (symbol !== undefined) made[symbol] = (/** @type {any[]} */ args) => formatted(args, fd);
  }
  made.dir = (/** @type {any} */ value, /** @type {any} */ options) => made.log(Bun.inspect(value, { depth: DEPTH, ...options }));
  made.table = (/** @type {any} */ data, /** @type {any} */ columns) => {
    const isTable = data !== null && typeof data === 'object';
    made.log(isTable ? Bun.inspect.table(data, columns).trimEnd() : data);
  };
  made.trace = (/** @type {any[]} */ ...args) => {
    const [, , ...frames] = String(new Error().stack).split('\n');
    made.error([formatted(args, STDERR), ...frames].filter((line) => line !== '').join('\n'));
  };
  return made;
}

/**
 * Passes each stream of the program's output to `found`.
 *
 * @param {(stream: any) => void} found
 */
function followStreams(found) {
  const [stdout, stderr] = [new Sink(STDOUT), new Sink(STDERR)];
  for (const stream of [process.stdout, process.stderr, stdout, stderr]) found(stream);
  /** @type {any} */
  let made = null;
  for (const name of METHODS) {
    const method = { [name]: (/** @type {any[]} */ ...args) => (made ??= consoleOf(stdout, stderr))[name](...args) };
    console[name] = /** @type {any} */ (method[name]);
  }
  /** @type {any} */ (console).write = function write(/** @type {any[]} */ ...data) {
    const chunks = data.map((one) => Buffer.from(one));
    for (const chunk of chunks) stdout.write(chunk);
    return chunks.reduce((sum, { length }) => sum + length, 0);
  };
}

module.exports = { followStreams };
