'use strict';

// Every example runs, answers from a worker and stops in order.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { run } = require('./helpers/run');

const folder = path.join(__dirname, '..', 'examples');

for (const name of fs.readdirSync(folder)) {
  test(`the example ${name} serves and stops`, async (t) => {
    const port = await freePort();
    const env = { PORT: String(port), ADMIN_PORT: String(await freePort()), CLUSTER_WORKERS: '2' };
    const example = run(t, path.join(folder, name, 'server.js'), { env });
    await example.until(new RegExp(`on http://localhost:${port}`));
    const workers = example.others();
    assert.ok(workers.length >= 2, `its workers: ${workers}`);

    const answer = await request(port);
    assert.equal(answer.status, 200, answer.body);

    example.signal('SIGTERM');
    assert.deepEqual(await example.exit, { code: 0, signal: null }, example.output);
    await example.gone();
  });
}
