'use strict';

// drover/keyv: the test suite of Keyv for storage adapters as it is published, and what it does not test.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { packages } = require('./helpers/packages');
const { write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { default: Keyv } = require('keyv');
const { createServer } = require('..');
const { DroverStore } = require('drover/keyv');

const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });

/** A namespace of the cache for one test. */
let count = 0;
const fresh = () => cache.namespace(`test ${(count += 1)}`);

/** What the suite has of tests for a store. */
const SUITE_TESTS = 42;

test('the published test suite passes', async (t) => {
  const folder = await packages(t, { keyv: '5.6.0', '@keyv/test-suite': '2.1.2' }, { scripts: false });
  if (folder === null) return;
  const suite = write(
    t,
    `import http from 'node:http';
     import { createRequire } from 'node:module';
     import Keyv from 'keyv';
     import keyvTestSuite, { keyvIteratorTests } from '@keyv/test-suite';
     import * as vitest from 'vitest';
     // The runner would transform what it imports itself.
     const require = createRequire(import.meta.url);
     const { createServer } = require('drover');
     const { DroverStore } = require('drover/keyv');
     const app = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
     const store = () => new DroverStore(app.cache);
     keyvTestSuite(vitest, Keyv, store);
     keyvIteratorTests(vitest, Keyv, store);`,
    { name: 'suite.test.mjs' },
  );
  const root = path.dirname(suite);
  for (const name of ['keyv', '@keyv', 'vitest']) fs.symlinkSync(path.join(folder, 'node_modules', name), path.join(root, 'node_modules', name));
  const vitest = run(t, path.join(folder, 'node_modules', 'vitest', 'vitest.mjs'), {
    args: ['run', '--root', root, '--reporter=json'],
    cwd: root,
  });
  const { code } = await vitest.exit;
  const results = JSON.parse(vitest.stdout.slice(vitest.stdout.indexOf('{"numTotal')));
  assert.deepEqual([code, results.numPassedTests, results.numTotalTests], [0, SUITE_TESTS, SUITE_TESTS], vitest.output);
});

test('all processes of a cluster have the same values', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.sendToWorker(0, 'set', null);
      tell(await app.sendToWorker(1, 'get', null));
    },
    {
      env: { KEYV: require.resolve('keyv') },
      before: (app) => {
        const { DroverStore } = require('drover/keyv');
        const { default: Keyv } = require(process.env.KEYV);
        const keyv = new Keyv({ store: new DroverStore(app), namespace: 'n' });
        app.onMessage('set', () => keyv.set('k', { n: 1 }));
        app.onMessage('get', () => keyv.get('k'));
      },
    },
  );
  assert.deepEqual(await told(1), [{ n: 1 }]);
});

test('many keys are set, read and deleted at once, and a failure is told', async () => {
  const keyv = new Keyv({ store: new DroverStore(fresh()), ttl: 60_000 });
  const errors = [];
  keyv.on('error', (error) => errors.push(error.code));
  const entries = [
    { key: 'a', value: 1 },
    { key: 'k'.repeat(5000), value: 2 },
    { key: 'b', value: 3, ttl: 20 },
  ];
  assert.deepEqual(await keyv.setMany(entries), [true, false, true]);
  assert.equal(await keyv.set('k'.repeat(5000), 1), false);
  assert.deepEqual(errors, ['INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
  assert.deepEqual(await keyv.has(['a', 'c']), [true, false]);
  while (await keyv.has('b')) await wait(5);
  assert.deepEqual(await keyv.get(['a', 'b', 'c']), [1, undefined, undefined]);
  assert.deepEqual([await keyv.delete(['a', 'b']), await keyv.has('a')], [false, false]);
});

test("clear removes the keys of Keyv's namespace alone, whatever its name, and without one all", async () => {
  const own = fresh();
  const keyvs = ['a', 'a*', ''].map((namespace) => new Keyv({ store: new DroverStore(own), namespace }));
  const setAll = () => Promise.all(keyvs.map((keyv) => keyv.set('k', 1)));
  const have = () => Promise.all(keyvs.map((keyv) => keyv.has('k')));
  await setAll();
  await keyvs[0].clear();
  assert.deepEqual(await have(), [false, true, true]);
  await setAll();
  await keyvs[1].clear();
  assert.deepEqual(await have(), [true, false, true]);
  await keyvs[2].clear();
  assert.deepEqual(await have(), [false, false, false]);
});

test("the program's own clear leaves Keyv's keys alone", async () => {
  const keyv = new Keyv({ store: new DroverStore(cache) });
  await keyv.set('k', 1);
  await cache.clear();
  assert.equal(await keyv.get('k'), 1);
  for (const source of [undefined, {}, new Map()]) assert.throws(() => new DroverStore(source), { code: 'INVALID_ARGUMENT' });
});
