'use strict';

// The rules of docs/ARCHITECTURE.md for lib/: which folder may use which, what only lib/runtime/ may use, and that
// there are no cyclic dependencies.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const root = path.join(__dirname, '..');
const lib = path.join(root, 'lib');

/** Folders of lib/; each uses only those behind it, and the files of lib/ itself. */
const LAYERS = ['adapters', 'api', 'primary', 'worker', 'cache', 'fleet', 'http', 'messages', 'metrics', 'process', 'runtime'];

/** Files of lib/ that every folder may use. They use nothing but each other and the runtime. */
const BASE = ['errors.js', 'native.js', 'options.js', 'retry.js', 'symbols.js'];

/** Where something of drover's is loaded late, and why. */
const LATE = {
  'preload.js -> worker/attach.js': 'a process that is no worker loads nothing',
  'preload.js -> ../index.js': 'a program may never ask for the package',
};

/** Names that the runtime keeps to itself. */
const INTERNALS = [
  '_bytesDispatched',
  '_connections',
  '_createServerHandle',
  '_destroy',
  '_emitCloseIfDrained',
  '_eval',
  '_finish',
  '_getActiveHandles',
  '_getServer',
  '_handle',
  '_header',
  '_httpMessage',
  '_idleStart',
  '_last',
  '_listen2',
  '_maxRequestsPerSocket',
  '_parent',
  '_readableState',
  '_server',
  '_setupListenHandle',
  '_sharedCreds',
  '_storeHeader',
  '_writableState',
  '_write',
  '_writev',
  'assignSocket',
  'enableTicketKeyCallback',
  'getAsyncId',
  'getOwnPropertySymbols',
  'internalMessage',
  'mainModule',
  'NODE_CLUSTER',
  'onconnection',
  'onticketkeycallback',
  'owner_symbol',
  'prepareStackTrace',
  'setBlocking',
  'writeQueueSize',
];

/** Questions which runtime this is. */
const RUNTIME_QUESTION = /process\.(versions|release|isBun)|\bBun\.|typeof Bun|globalThis\.Bun/;

function filesIn(folder) {
  return fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.js'));
}

/** The code of a file without its comments and texts. */
function codeOf(file) {
  const text = fs.readFileSync(path.join(lib, file), 'utf8');
  return text.replace(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}(),])\/\/.*$/gm, '');
}

/** What a file of lib/ requires of drover, with `isLate`: inside a function. */
function requiresOf(file) {
  const found = [];
  for (const line of codeOf(file).split('\n')) {
    for (const [, specifier] of line.matchAll(/require(?:\.resolve)?\('(\.[^']*)'\)/g)) {
      const target = require.resolve(path.resolve(lib, path.dirname(file), specifier));
      found.push({ to: path.relative(lib, target), isLate: /^\s+(?!\s|\.\.\.require)/.test(line) });
    }
  }
  return found;
}

const files = filesIn(lib);
const layerOf = (file) => (file.includes('/') ? file.split('/')[0] : '');
const graph = new Map(files.map((file) => [file, requiresOf(file)]));

test('ARCHITECTURE lists the folders of lib in dependency order', () => {
  const folders = fs.readdirSync(lib, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.deepEqual(folders.map(({ name }) => name).sort(), [...LAYERS].sort());
  const table = fs.readFileSync(path.join(root, 'docs', 'ARCHITECTURE.md'), 'utf8').matchAll(/^\| `([a-z]+)\/` \|/gm);
  assert.deepEqual([...table].map(([, name]) => name).filter((name) => LAYERS.includes(name)), LAYERS);
});

test('a folder of lib uses only those below it', () => {
  const wrong = [];
  for (const [file, requires] of graph) {
    for (const { to } of requires) {
      const [from, target] = [LAYERS.indexOf(layerOf(file)), LAYERS.indexOf(layerOf(to))];
      const isEntry = file === 'preload.js' || file === 'cluster.js';
      const isPackage = to === '../binding.js' || to === '../package.json';
      const isBase = BASE.includes(to) || to === 'runtime/index.js';
      const isAllowed = isEntry || isPackage || isBase || (from >= 0 && target >= from);
      if (!isAllowed || (BASE.includes(file) && !isBase && !isPackage)) wrong.push(`${file} -> ${to}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('lib has no circular requires', () => {
  const cycles = [];
  const done = new Set();
  const visit = (file, way) => {
    if (way.includes(file)) return cycles.push([...way.slice(way.indexOf(file)), file].join(' -> '));
    if (done.has(file)) return undefined;
    for (const { to } of graph.get(file) ?? []) visit(to, [...way, file]);
    return done.add(file);
  };
  for (const file of files) visit(file, []);
  assert.deepEqual(cycles, []);
});

test('every lazy require in lib has a stated reason', () => {
  const late = [...graph].flatMap(([file, requires]) => requires.filter(({ isLate }) => isLate).map(({ to }) => `${file} -> ${to}`));
  // The addon may be missing, which is no reason not to load the package.
  const expected = [...Object.keys(LATE), 'native.js -> ../binding.js'];
  assert.deepEqual([...new Set(late)].sort(), expected.sort());
});

test('only lib/runtime/node/internals names what Node.js does not document', () => {
  const words = new RegExp(`(?<![\\w$])(?:${INTERNALS.join('|')})(?![\\w$])|\\.parser\\b`, 'g');
  const named = files
    .filter((file) => !file.startsWith('runtime/'))
    .flatMap((file) => (codeOf(file).match(words) ?? []).map((word) => `${file}: ${word}`));
  assert.deepEqual(named, []);
});

test('only lib/runtime asks which runtime it is', () => {
  const asking = files.filter((file) => !file.startsWith('runtime/') && RUNTIME_QUESTION.test(codeOf(file)));
  assert.deepEqual(asking, []);
});

test("drover's own symbols are in one list", () => {
  const making = files.filter((file) => /\bSymbol(\.for)?\('drover/.test(codeOf(file)));
  assert.deepEqual(making, ['symbols.js']);
});

test('each file of lib/runtime/node/internals documents the internals that it uses and the Node.js versions', () => {
  for (const file of files.filter((name) => name.startsWith('runtime/node/internals/'))) {
    const text = fs.readFileSync(path.join(lib, file), 'utf8');
    assert.match(text, /^\/\/ Relies on: /m, file);
    assert.match(text, /^\/\/ Seen on: .*Node\.js 20, 22, 24, 26\.$/m, file);
  }
});
