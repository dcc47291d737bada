'use strict';

// Everything that drover uses of Node.js and that Node.js does not document is as it was, on every major: a test for each
// file of lib/runtime/node/internals/, by its name.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { tlsEnvironment } = require('./helpers/certificate');
const { MAJORS, findNode } = require('./helpers/nodes');
const { skip } = require('./helpers/skip');

const program = path.join(__dirname, 'fixtures', 'internals.js');
const folder = path.join(__dirname, '..', 'lib', 'runtime', 'node', 'internals');
const names = fs.readdirSync(folder).map((file) => path.basename(file, '.js'));

for (const major of MAJORS) {
  test(`Node.js ${major}`, async (t) => {
    let node;
    try {
      node = await findNode(major);
    } catch (error) {
      return skip(t, `there is no Node.js ${major} here`, error);
    }
    const env = { ...process.env, ...tlsEnvironment(t), NODE_OPTIONS: '' };
    const { stdout } = await promisify(execFile)(node.path, [program], { env });
    const outcomes = JSON.parse(stdout);
    assert.deepEqual(Object.keys(outcomes).sort(), names.sort(), 'every file has its check');
    for (const name of names) {
      await t.test(name, () => {
        assert.equal(outcomes[name], null, `${node.version} does otherwise what ${name}.js relies on:\n${outcomes[name]}`);
      });
    }
  });
}
