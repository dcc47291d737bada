'use strict';

// The error codes stand in one place, src/error.rs; the types repeat them for TypeScript.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const read = (...parts) => fs.readFileSync(path.join(__dirname, '..', ...parts), 'utf8');

/** The codes of `Code::ALL`, spelled as they cross to JavaScript. */
function codesOfTheCore() {
  const [, list] = read('src', 'error.rs').match(/const ALL: \[Code; \d+\] = \[(.*?)\];/s);
  const names = [...list.matchAll(/Code::(\w+)/g)].map(([, name]) => name);
  return names.map((name) => name.replace(/(?<=.)(?=[A-Z])/g, '_').toUpperCase());
}

/** The members of `ClusterErrorCode`. */
function codesOfTheTypes() {
  const [, union] = read('types', 'errors.d.ts').match(/type ClusterErrorCode =(.*?);\n\n/s);
  return [...union.matchAll(/\| '(\w+)'/g)].map(([, code]) => code);
}

test('the types name exactly the error codes that the core has', () => {
  const codes = codesOfTheCore();
  assert.ok(codes.includes('CONFIGURATION_INVALID'), `not read from src/error.rs: ${codes}`);
  assert.deepEqual(codesOfTheTypes(), codes);
});
