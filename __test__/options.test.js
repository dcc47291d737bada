'use strict';

// The options stand in one place, src/config/sections; the types repeat their names for TypeScript. The
// compiler itself says whether the two agree: a program made of the core's keys has to compile.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const root = path.join(__dirname, '..');

/** The keys of a ClusterConfig with their synonyms, as the core's reference tells them. */
function keysOfTheCore() {
  const { optionReference } = require('../binding.js');
  const [, , ...sections] = optionReference().split(/^## /m);
  const rows = sections.join('').matchAll(/^\| `([\w.]+)` \|([^|]*)\|/gm);
  return [...rows].flatMap(([, key, synonyms]) => [key, ...[...synonyms.matchAll(/`([\w.]+)`/g)].map(([, name]) => name)]);
}

/** `autoScaling.x` may also be written `scaling.x`. */
function withSectionSynonyms(keys) {
  const schema = fs.readFileSync(path.join(root, 'src', 'config', 'schema.rs'), 'utf8');
  const [, list] = schema.match(/SECTION_SYNONYMS: .*?= &?\[(.*?)\];/s);
  const pairs = [...list.matchAll(/\("(\w+)", "(\w+)"\)/g)];
  assert.ok(pairs.length > 0, 'the synonyms of sections were not found in src/config/schema.rs');
  const more = pairs.flatMap(([, synonym, section]) =>
    keys.filter((key) => key.startsWith(`${section}.`)).map((key) => synonym + key.slice(section.length)),
  );
  return [...keys, ...more];
}

/** A program that compiles when `keys` are exactly the paths of the exported type. */
const program = (type, keys) => `
import type { ${type} } from ${JSON.stringify(path.join(root, 'index'))};

type Leaf = string | number | boolean | bigint | symbol | null | undefined | URL | readonly any[] | ((...args: any[]) => any);
type At<T, P extends string> = P extends \`\${infer Head}.\${infer Tail}\`
  ? T extends Leaf ? never : Head extends keyof T ? At<NonNullable<T[Head]>, Tail> : never
  : T extends Leaf ? never : P extends keyof T ? true : never;
type Paths<T> = T extends Leaf ? never : string extends keyof T ? never : {
  [K in keyof T & string]-?: PathsBelow<NonNullable<T[K]>, K>;
}[keyof T & string];
type PathsBelow<T, K extends string> = [Paths<T>] extends [never] ? K : \`\${K}.\${Paths<T>}\`;

type Known = ${keys.map((key) => `\n  | '${key}'`).join('')};
type Missing = { [K in Known]: [At<${type}, K>] extends [never] ? K : never }[Known];

/** Keys that the core takes and the types lack. */
export const missing: [Missing] extends [never] ? true : Missing = true;
/** Keys that the types name and the core refuses. An admission is one value of the core, a text or an object. */
type Surplus = Exclude<Paths<${type}>, Known | \`loadBalancing.admission.\${'targetDelay' | 'exempt'}\`>;
export const surplus: [Surplus] extends [never] ? true : Surplus = true;
`;

function compile(t, text) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-types-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const config = {
    extends: path.join(root, '__test__', 'types', 'tsconfig.json'),
    compilerOptions: { typeRoots: [path.join(root, 'node_modules', '@types')], skipLibCheck: true },
    include: [],
    files: ['keys.ts'],
  };
  fs.writeFileSync(path.join(folder, 'keys.ts'), text);
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  return spawnSync(process.execPath, [tsc, '--project', folder], { encoding: 'utf8' });
}

function clusterKeys() {
  const keys = withSectionSynonyms(keysOfTheCore());
  assert.ok(keys.length > 120, `only ${keys.length} keys were read from the core's reference`);
  return keys;
}

test('the types name exactly the keys of a ClusterConfig that the core takes', (t) => {
  const { status, stdout } = compile(t, program('ClusterConfig', clusterKeys()));
  assert.equal(status, 0, stdout);
});

test('the check finds a key that only the types or the core have', (t) => {
  const keys = clusterKeys().filter((key) => key !== 'loadBalancing.strategy');
  const { stdout } = compile(t, program('ClusterConfig', [...keys, 'workers.number']));
  assert.match(stdout, /'true' is not assignable to type '"workers\.number"'/);
  assert.match(stdout, /'true' is not assignable to type '"loadBalancing\.strategy"'/);
});

/** Each key that takes one of several texts, with those texts, as the core's reference tells them. */
function choicesOfTheCore() {
  const { optionReference } = require('../binding.js');
  const rows = optionReference().matchAll(/^\| `([\w.]+)` \|[^|]*\| ('[\w-]+'(?:, '[\w-]+')+) \|/gm);
  return [...rows].map(([, key, names]) => [key, names.split(', ')]);
}

/** A program that compiles when each key takes exactly the texts of its list. */
const choosing = (choices) => `
import type { ClusterConfig } from ${JSON.stringify(path.join(root, 'index'))};

type At<T, P extends string> = P extends \`\${infer Head}.\${infer Tail}\`
  ? Head extends keyof T ? At<Extract<T[Head], object>, Tail> : never
  : P extends keyof T ? NonNullable<T[P]> : never;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : A) : A;
${choices
  .map(([key, texts], n) => `export const key${n}: Same<At<ClusterConfig, '${key}'>, ${texts.join(' | ')}> = true;`)
  .join('\n')}
`;

test('the types name exactly the texts that the core accepts', (t) => {
  const choices = choicesOfTheCore();
  assert.ok(choices.length >= 10, `only ${choices.length} keys with choices were read`);
  const { status, stdout } = compile(t, choosing(choices));
  assert.equal(status, 0, stdout);
});

test('the check finds a text that only the types or the core have', (t) => {
  const { stdout } = compile(t, choosing([['loadBalancing.dispatch', ["'auto'", "'push'"]]]));
  assert.match(stdout, /'true' is not assignable to type/);
});
