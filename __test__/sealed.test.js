'use strict';

// Encrypted channels and the rules of who may say what: nothing that breaks them is delivered, and nothing of a
// message shows where it should not.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { folder } = require('./helpers/program');

const KEY = 'c0ffee00'.repeat(8);
const SECRET = 'the payload that nobody else may see';

const sum = (app) => app.isWorker && app.onMessage('sum', ({ a, b }) => a + b);

for (const key of [undefined, KEY, 'a passphrase of some length']) {
  const kind = key === undefined ? 'a key of the start’s own' : key === KEY ? 'a key' : 'a passphrase';
  test(`encrypted with ${kind}, messages and answers pass between all processes, replaced workers too`, async (t) => {
    const { told } = messagingCluster(
      t,
      async (app, tell) => {
        if (!app.isPrimary) return;
        tell(await app.sendToWorker(0, 'sum', { a: 1, b: 2 }));
        tell(await app.sendToWorker(0, 'relay', { text: 'x'.repeat(900_000) }));
        await app.restartCluster();
        tell((await app.broadcastToWorkers('sum', { a: 2, b: 2 })).map(({ data }) => data));
      },
      {
        before: (app) => {
          if (!app.isWorker) return;
          app.onMessage('sum', ({ a, b }) => a + b);
          app.onMessage('length', ({ text }) => text.length);
          app.onMessage('relay', ({ text }) => app.sendToWorker(1, 'length', { text }));
        },
        config: { ipc: { encryption: true, key } },
      },
    );
    assert.deepEqual(await told(3), [3, 900_000, [4, 4]]);
  });
}

test('the key is in no worker’s environment or command line, and no log line has it or a payload', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell, problem, { secret }) => {
      if (!app.isPrimary) return;
      await app.sendToWorker(0, 'sum', { secret }).catch(() => {});
      tell(app.getAllWorkers().map(({ pid }) => pid));
    },
    { before: sum, config: { ipc: { encryption: true } }, env: { IPC_ENCRYPTION_KEY: KEY }, given: { secret: SECRET } },
  );
  const [pids] = await told();
  for (const pid of pids) {
    for (const file of ['environ', 'cmdline']) {
      assert.ok(!fs.readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(KEY), file);
    }
  }
  assert.ok(!running.output.includes(KEY) && !running.output.includes(SECRET));
});

/** Descriptors of a worker: its control channel and the one to the primary's program. */
const CHANNELS = { control: 3, program: 5 };

for (const encryption of [false, true]) {
  for (const [name, fd] of Object.entries(CHANNELS)) {
    const how = encryption ? 'sealed' : 'plain';
    test(`bytes written by a worker on its ${how} ${name} channel end it; it is replaced, and the log says why`, async (t) => {
      const { told, running } = messagingCluster(
        t,
        async (app, tell, problem, { fd, secret }) => {
          if (app.workerId !== '0') return;
          if (app.getAllWorkers()[0].generation > 1) {
            tell(await app.sendToWorker(1, 'sum', { a: 1, b: 1 }));
            return;
          }
          // Looks like a frame, and is none that this process may send.
          const header = Buffer.from([secret.length, 0, 0, 0, 1, 2, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
          require('node:fs').writeSync(fd, Buffer.concat([header, Buffer.from(secret)]));
        },
        { before: sum, config: { ipc: { encryption } }, given: { fd, secret: SECRET } },
      );
      const why = encryption ? /does not authenticate/ : /is no message|program came over the control channel/;
      await running.until(why);
      assert.deepEqual(await told(), [2], 'the next one speaks with the others');
      assert.ok(!running.output.includes(SECRET));
    });
  }
}

test('only what a rule allows is delivered; the sender gets an error, the audit log a line without the payload', async (t) => {
  const audit = path.join(folder(t), 'audit.log');
  const { told, running } = messagingCluster(
    t,
    async (app, tell, problem, { secret }) => {
      const code = (sent) => sent.then((value) => value, (error) => error.code);
      if (app.isPrimary) {
        tell([
          'primary',
          await code(app.sendToWorker(0, 'sum', { a: 1, b: 2 })),
          await code(app.sendToWorker(0, 'other', { secret })),
        ]);
        tell(['worker', ...(await app.sendToWorker(0, 'try', { secret }))]);
      }
    },
    {
      before: (app) => {
        const code = (sent) => sent.then((value) => value, (error) => error.code);
        app.onMessage('try', async ({ secret }) => [
          await code(app.sendToWorker(1, 'sum', { a: 2, b: 2 })),
          await code(app.sendToWorker(1, 'other', { secret })),
          await code(app.sendToPrimary('sum', { secret })),
        ]);
        app.onMessage('sum', ({ a, b }) => a + b);
        app.onMessage('other', () => 'delivered');
      },
      config: {
        security: {
          ipc: { allow: [{ from: 'primary', types: ['sum', 'try'] }, { from: '0', to: ['1'], types: ['sum'] }] },
          auditLog: audit,
        },
      },
      given: { secret: SECRET },
    },
  );
  const lines = Object.fromEntries((await told(2)).map(([who, ...answers]) => [who, answers]));
  assert.deepEqual(lines, {
    primary: [3, 'MESSAGE_REFUSED'],
    worker: [4, 'MESSAGE_REFUSED', 'MESSAGE_REFUSED'],
  });
  running.signal('SIGTERM');
  await running.exit;
  const text = fs.readFileSync(audit, 'utf8');
  assert.ok(!text.includes(SECRET));
  const records = text.trim().split('\n').map((line) => JSON.parse(line));
  const forbidden = records.filter(({ verdict }) => verdict === 'forbidden');
  assert.deepEqual(
    forbidden.map(({ from, to, type }) => [from, to, type]).sort(),
    [
      ['0', '1', 'other'],
      ['0', 'primary', 'sum'],
      ['primary', '0', 'other'],
    ],
  );
  assert.ok(records.some(({ what, verdict }) => what === 'answer' && verdict === 'delivered'));
  assert.equal(fs.statSync(audit).mode & 0o777, 0o600);
});

test('lines that cannot be written to the audit log are counted and reported', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => app.isPrimary && tell(await app.sendToWorker(0, 'sum', { a: 1, b: 2 })),
    { before: sum, config: { security: { auditLog: '/dev/full' } } },
  );
  assert.deepEqual(await told(), [3], 'the message passes all the same');
  await running.until(/the audit log \/dev\/full cannot be written: No space left on device/);
  running.signal('SIGTERM');
  await running.exit;
  assert.match(running.stderr, /the audit log \/dev\/full lacks 2 lines/);
});

test('a message of a type with a schema is checked before it is delivered', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (!app.isPrimary) return;
      tell(await app.sendToWorker(0, 'sum', { a: 1, b: 2 }));
      tell(await app.sendToWorker(0, 'sum', { a: 1, b: 'two' }).catch(problem));
    },
    {
      before: sum,
      config: {
        security: {
          ipc: {
            schemas: {
              sum: { properties: { data: { properties: { a: { type: 'number' }, b: { type: 'number' } } } } },
            },
          },
        },
      },
    },
  );
  const [answer, refused] = await told(2);
  assert.equal(answer, 3);
  assert.equal(refused.code, 'MESSAGE_REFUSED');
  assert.match(refused.message, /schema of 'sum'.*want number, but got string at '\/data\/b'/);
});

test('an invalid schema and an unwritable audit log are errors of the start', async (t) => {
  for (const [security, error] of [
    [{ ipc: { schemas: { sum: { type: 5 } } } }, /security\.ipc\.schemas/],
    [{ auditLog: '/nowhere/at/all/audit.log' }, /ENOENT|No such file/],
  ]) {
    const { running } = messagingCluster(t, () => {}, { config: { security } });
    const { code } = await running.exit;
    assert.notEqual(code, 0);
    assert.match(running.output, error);
  }
});
