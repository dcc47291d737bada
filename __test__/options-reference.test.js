'use strict';

// Options and their defaults stand in one place, the core. docs/options.md is made from it, and what the types
// say of a default is held against it.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { defaultValues } = require('../binding.js');
const { isFresh, reference } = require('../scripts/options');
const { optionsOf } = require('./helpers/declarations');

/** The rows of the reference: { key, choices, value, text } with the default as value and, of a unit, as text. */
function rows() {
  const lines = reference()
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  return lines.map((line) => {
    const [, key, , type, cell] = line.split(/(?<!\\)\|/).map((part) => part.trim());
    const [, number, text] = cell.match(/^(\d+) \((\w+)\)$/) ?? [];
    const literal = cell.startsWith('`') ? JSON.parse(cell.slice(1, -1)) : undefined;
    const supported = line.split(/(?<!\\)\|/).at(-2).trim();
    return { key: key.slice(1, -1), type, value: number ? Number(number) : literal, text, supported };
  });
}

/** The value that a @default tag names, and whether words follow that qualify it. */
function read(tag) {
  const [, literal, words] = tag.match(/^('[^']*'|true|false|-?[\d.]+)( .*)?$/) ?? [];
  assert.ok(literal, `not a value: @default ${tag}`);
  return { value: JSON.parse(literal.replaceAll("'", '"')), qualified: words !== undefined };
}

/** Nothing given: an empty list or object is not worth a tag. */
const isEmpty = (value) => value === undefined || (typeof value === 'object' && Object.keys(value).length === 0);

function disagreement({ key, value, text }, option) {
  if (option === undefined) return `${key}: not found in types/`;
  if (option.default === undefined) return isEmpty(value) ? null : `${key}: no @default, the core has ${value}`;
  const said = read(option.default);
  const agrees = isEmpty(value) ? said.qualified || !said.value : [value, text].includes(said.value);
  return agrees ? null : `${key}: @default ${option.default}, the core has ${value}`;
}

test('docs/options.md matches the core', () => {
  assert.ok(isFresh(), 'run `npm run options` and commit the result');
});

for (const [name, keys] of [
  ['ServerOptions', (key) => /^(port|host|app|server|exposeWorkerHeaders|redis\..*)$/.test(key)],
  ['ClusterConfig', (key) => !/^(port|host|app|server|exposeWorkerHeaders|redis\..*)$/.test(key)],
]) {
  test(`the defaults of ${name} in the types are the core's`, () => {
    const options = optionsOf(name);
    const all = rows().filter(({ key }) => keys(key));
    const withDefault = all.filter(({ value }) => !isEmpty(value));
    assert.ok(withDefault.length >= (name === 'ClusterConfig' ? 70 : 3), `only ${withDefault.length} defaults were read`);
    assert.deepEqual(
      all.map((row) => disagreement(row, options.get(row.key))).filter((found) => found !== null),
      [],
    );
  });
}

/** The options around one, itself last: `a`, `a.b`, `a.b.c`. */
const around = (key) => key.split('.').map((_, at, parts) => parts.slice(0, at + 1).join('.'));

test('the types mark every unsupported option', () => {
  const isServers = (key) => /^redis\b/.test(key);
  const [server, cluster] = [optionsOf('ServerOptions'), optionsOf('ClusterConfig')];
  const says = (key) => /Refused by this version/.test((isServers(key) ? server : cluster).get(key)?.comment ?? '');
  const refused = rows().filter(({ supported }) => supported === 'not yet');
  assert.ok(refused.length > 0);
  const silent = refused.filter(({ key }) => !around(key).some(says)).map(({ key }) => key);
  assert.deepEqual(silent, []);
  const brought = rows().filter(({ supported }) => supported === 'yes');
  const wrong = brought.filter(({ key }) => around(key).some(says)).map(({ key }) => key);
  assert.deepEqual(wrong, []);
});

test('every supported option is used outside of the configuration', () => {
  const { readFileSync, readdirSync } = require('node:fs');
  const path = require('node:path');
  const root = path.join(__dirname, '..');
  const textOf = (folder, ending, leftOut) =>
    readdirSync(path.join(root, folder), { recursive: true })
      .filter((name) => name.endsWith(ending) && !leftOut.test(name))
      .map((name) => readFileSync(path.join(root, folder, name), 'utf8'))
      .join('\n');
  // `config/mod.rs` and its like decide about a cluster of their own options; the sections only declare.
  const rust = textOf('src', '.rs', /^config\/(?:sections|defaults|presets|reference|support|tests|schema)/);
  const script = textOf('lib', '.js', /^$/);
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const isRead = ({ key }) => {
    const name = key.split('.').at(-1);
    // Of an option that only sets two others: `derive::SPREAD`.
    const spreads = rust.includes(`("${key}", [`);
    return spreads || new RegExp(`\\.${snake(name)}\\b`).test(rust) || new RegExp(`\\b${name}\\b`).test(script);
  };
  const unread = rows().filter((row) => row.supported === 'yes' && !isRead(row));
  assert.deepEqual(unread.map(({ key }) => key), []);
});

test('a default that differs is found', () => {
  const row = { key: 'x', value: 2000, text: '2s' };
  assert.equal(disagreement(row, { default: '2000' }), null);
  assert.equal(disagreement(row, { default: "'2s'" }), null);
  assert.match(disagreement(row, { default: '3000' }), /core has 2000/);
  assert.match(disagreement(row, { default: undefined }), /no @default/);
  assert.match(disagreement({ key: 'x', value: undefined }, { default: '5' }), /core has undefined/);
});

test('DEFAULT_VALUES has in the types the values that the core exports', () => {
  const { readFileSync } = require('node:fs');
  const declared = readFileSync(require.resolve('../types/manager.d.ts'), 'utf8');
  const [, body] = declared.match(/const DEFAULT_VALUES: {(.*?)};/s);
  const told = [...body.matchAll(/readonly (\w+): (\d+);/g)].map(([, name, value]) => [name, Number(value)]);
  assert.deepEqual(Object.fromEntries(told), defaultValues());
});
