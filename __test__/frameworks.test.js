'use strict';

// Every kind of server is clustered as it is: the fixtures know nothing of drover.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { kinds, placeFor } = require('./helpers/kinds');
const { run } = require('./helpers/run');

const clustered = path.join(__dirname, 'fixtures', 'clustered.js');

/** Connections that are made one after the other; round-robin brings the second worker in by the second. */
const VISITS = 6;

for (const kind of kinds) {
  test(`${kind.name} is served by two workers`, async (t) => {
    const { place, env } = await placeFor(t, kind);
    // Exact turns, whatever the machine is busy with: no worker is ever judged to be stuck.
    env.CLUSTER_CONFIG = JSON.stringify({
      workers: 2,
      loadBalancing: { healthAware: false, stickySession: kind.sticky === true },
    });
    const cluster = run(t, clustered, { args: [kind.script], env });
    await cluster.until(/the cluster is ready/);
    // A worker counts as ready with its first listener; some have two.
    const [[, chosenPort]] = await cluster.untilMany(2, kind.ready);
    if (chosenPort) place.port = Number(chosenPort);

    const answers = [];
    for (let visit = 0; visit < VISITS; visit += 1) answers.push(await kind.ask(place));

    const seen = new Set(answers.map(({ worker }) => worker));
    assert.deepEqual(
      answers.filter((answer) => answer.kind !== kind.says || answer.pid === cluster.pid),
      [],
      'answers from elsewhere',
    );
    assert.ok(
      [...seen].every((worker) => ['0', '1'].includes(worker)),
      JSON.stringify(answers),
    );
    if (kind.evenly !== false) assert.equal(seen.size, kind.sticky ? 1 : 2, JSON.stringify(answers));
    if (kind.echoes) assert.ok(answers.every(({ echo }) => echo === 'echo'));

    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
  });
}
