'use strict';

// The fixture programs serve by themselves, without drover: what a test of the cluster finds wrong with them
// is drover's fault.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { kinds, placeFor } = require('./helpers/kinds');
const { run } = require('./helpers/run');

for (const kind of kinds) {
  test(`${kind.name} says who it is when it runs alone`, async (t) => {
    const { place, env } = await placeFor(t, kind);
    const program = run(t, kind.script, { env });
    const [, chosenPort] = await program.until(kind.ready);
    const answer = await kind.ask(chosenPort ? { ...place, port: Number(chosenPort) } : place);

    assert.equal(answer.kind, kind.says);
    assert.equal(answer.pid, program.pid);
    if (kind.hasPorts !== false) assert.ok(answer.remotePort > 0 && answer.localPort > 0, JSON.stringify(answer));
    if (kind.echoes) assert.equal(answer.echo, 'echo');
    await program.stop();
    assert.deepEqual(program.others(), []);
  });
}
