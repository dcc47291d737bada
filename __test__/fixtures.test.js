'use strict';

// The fixture programs serve by themselves, without drover: what a test of the cluster finds wrong with them
// is drover's fault.

const assert = require('node:assert/strict');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { tlsEnvironment } = require('./helpers/certificate');
const { freePort } = require('./helpers/http');
const { kinds } = require('./helpers/kinds');
const { run } = require('./helpers/run');

for (const kind of kinds) {
  test(`${kind.name} says who it is when it runs alone`, async (t) => {
    const place = {
      port: await freePort(),
      secondPort: await freePort(),
      socketPath: path.join(os.tmpdir(), `drover-test-${process.pid}.sock`),
    };
    const env = {
      PORT: String(place.port),
      SECOND_PORT: String(place.secondPort),
      SOCKET_PATH: place.socketPath,
      ...(kind.tls ? tlsEnvironment(t) : {}),
    };
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
