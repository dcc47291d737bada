'use strict';

// What the documents point at is there: links, files, npm scripts, and the tests that are said to hold a promise.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

const root = path.join(__dirname, '..');
const { scripts } = require('../package.json');

function documents() {
  const decisions = fs.readdirSync(path.join(root, 'docs', 'decisions')).map((name) => `docs/decisions/${name}`);
  return ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/ARCHITECTURE.md', 'docs/your-program.md', ...decisions];
}

const read = (name) => fs.readFileSync(path.join(root, name), 'utf8');
const exists = (name) => fs.existsSync(path.join(root, name));

/** Paths in backquotes that name a file or folder of the repository. */
const pathsIn = (text) =>
  [...text.matchAll(/`((?:src|lib|types|tests|__test__|scripts|bench|examples|docs)\/[\w./-]*)`/g)].map(([, name]) => name);

/** Targets of relative links, and of pictures. */
const linksIn = (text) =>
  [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target).filter((target) => !/^\w+:/.test(target));

/** The test files that a text names without their folder, each with the quoted names that follow it. */
function claimsIn(text) {
  const claims = [];
  for (const [, file, rest] of text.matchAll(/`([\w-]+\.test\.js)`((?:(?!`[\w/.-]+\.(?:test\.js|rs)`|\n\n)[^])*)/g)) {
    const names = [...rest.matchAll(/"([^"]+)"/g)].map(([, name]) => name.replace(/\s+/g, ' '));
    claims.push({ file: `__test__/${file}`, names });
  }
  for (const [, file, rest] of text.matchAll(/`((?:src|tests)\/[\w/]+\.rs)`((?:(?!`[\w/.-]+\.(?:test\.js|rs)`|\n\n)[^])*)/g)) {
    const names = [...rest.matchAll(/`([a-z0-9]+(?:_[a-z0-9]+){2,})`/g)].map(([, name]) => `fn ${name}(`);
    claims.push({ file, names });
  }
  return claims;
}

for (const name of documents()) {
  test(`${name} points at what is there`, () => {
    const text = read(name);
    const missing = [
      ...linksIn(text).filter((target) => !fs.existsSync(path.join(root, path.dirname(name), target))),
      ...pathsIn(text).filter((target) => !exists(target)),
      ...[...text.matchAll(/`npm run ([\w:.-]+)/g)].map(([, script]) => script).filter((script) => !(script in scripts)),
    ];
    assert.deepEqual(missing, []);
  });

  test(`${name} names tests that exist`, () => {
    const missing = claimsIn(read(name)).flatMap(({ file, names }) => {
      if (!exists(file)) return [file];
      const source = read(file);
      return names.filter((claimed) => !source.includes(claimed)).map((claimed) => `${file}: ${claimed}`);
    });
    assert.deepEqual(missing, []);
  });
}

test('the rules of the data plane name the tests that hold them', () => {
  const claims = claimsIn(read('docs/ARCHITECTURE.md'));
  assert.ok(claims.flatMap(({ names }) => names).length >= 15, JSON.stringify(claims));
});

test('each statement about what a program sees names the test that holds it', () => {
  const text = read('docs/your-program.md');
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| ---'));
  const tables = text.split(/^## /m).filter((section) => section.includes('held by'));
  const held = tables.flatMap((section) => section.split('\n').filter((line) => line.startsWith('| ') && !/^\| ---|held by \|$/.test(line)));
  assert.ok(held.length >= 30 && held.length < rows.length, `${held.length} statements`);
  assert.deepEqual(held.filter((row) => claimsIn(row).every(({ names }) => names.length === 0)), []);
});

/** The README's programs and fragments in JavaScript. */
const snippets = () => [...read('README.md').matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

const once = (found, what) => {
  assert.equal(found.length, 1, `one snippet of the README ${what}`);
  return found[0];
};

test('the first program of the README serves as it says', async (t) => {
  const port = await freePort();
  const code = once(
    snippets().filter((snippet) => snippet.includes('app.start(3000)')),
    'starts on port 3000',
  );
  const served = program(t, code.replace('3000', String(port)), { env: { CLUSTER_WORKERS: '2' } });
  await served.event('cluster:started');
  const answers = new Set();
  while (answers.size < 2) answers.add((await request(port)).body);
  assert.deepEqual([...answers].sort(), ['Hello from worker 0\n', 'Hello from worker 1\n']);
  served.signal('SIGTERM');
  assert.deepEqual(await served.exit, { code: 0, signal: null }, served.output);
});

test('the configuration of the README starts', async (t) => {
  const code = once(
    snippets().filter((snippet) => snippet.startsWith('createServer({')),
    'is a configuration',
  );
  const served = program(
    t,
    `const { createServer } = require('drover');
     const app = ${code.trim().replace('port: 3000', `port: ${await freePort()}`)}
     app.start().then(() => console.log('it starts'));`,
    { env: { CLUSTER_WORKERS: '2' } },
  );
  await served.until(/it starts/);
});
