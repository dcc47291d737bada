'use strict';

// The leader: at most one worker, soon another when it is gone, and never two at once.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { messagingCluster } = require('./helpers/messaging-cluster');

/** Tells who leads whenever that changes. */
const watching = (app, tell) => app.isWorker && app.onLeader(() => tell({ leads: app.workerId, pid: process.pid, at: Date.now() }));

const leaders = (lines) => lines.filter(({ leads }) => leads !== undefined);

test('exactly one worker leads; runOnce runs in it alone and gives the others undefined', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (app.isPrimary) return tell({ primary: app.isLeader });
      const ran = await app.runOnce('nightly', () => `by ${app.workerId}`);
      tell({ ran: ran ?? null, leader: app.isLeader });
    },
    { before: watching },
  );
  const lines = await told(4);
  assert.equal(leaders(lines).length, 1);
  assert.deepEqual(lines.find(({ primary }) => primary !== undefined), { primary: false });
  const ran = lines.filter(({ ran }) => ran !== undefined).sort((a, b) => Number(b.leader) - Number(a.leader));
  assert.deepEqual(ran, [
    { ran: `by ${leaders(lines)[0].leads}`, leader: true },
    { ran: null, leader: false },
  ]);
});

test('work that must be done once before serving is done while the workers start', async (t) => {
  const { told } = messagingCluster(t, () => {}, {
    before: (app, tell) => app.isWorker && app.runOnce('migrate', () => tell('migrated')).then(() => tell(app.workerId)),
  });
  assert.deepEqual((await told(3)).sort(), ['0', '1', 'migrated']);
});

test('within a second of the leader’s death another leads, and leader:changed says so', async (t) => {
  const { told, running } = messagingCluster(
    t,
    (app, tell) => app.isPrimary && app.cluster.on('leader:changed', ({ from, to }) => tell({ from, to })),
    { before: watching },
  );
  await running.event('cluster:started');
  const [first] = leaders(await told());
  const killed = Date.now();
  process.kill(first.pid, 'SIGKILL');
  const lines = await told(3);
  const [, second] = leaders(lines);
  assert.notEqual(second.leads, first.leads);
  assert.ok(second.at - killed <= 1000, `${second.at - killed} ms`);
  assert.ok(lines.some(({ from, to }) => from === first.leads && to === second.leads));
});

test('a leader stopped by SIGSTOP leads until it ends, also if it is continued', async (t) => {
  const { told, running } = messagingCluster(t, () => {}, {
    before: watching,
    config: { processManagement: { hangTimeout: 1000 } },
  });
  await running.event('cluster:started');
  const [first] = leaders(await told());
  process.kill(first.pid, 'SIGSTOP');
  const [, second] = leaders(await told(2));
  assert.notEqual(second.pid, first.pid);
  assert.throws(() => process.kill(first.pid, 0), { code: 'ESRCH' }, 'reaped before another one leads');
  assert.ok(running.output.indexOf('hung for') > 0);
});

test('a roll moves leadership only when the work that runs once is done', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (app.isPrimary) {
        await app.sendToWorker('0', 'work');
        await app.restartCluster();
        tell('rolled');
      }
    },
    {
      before: (app, tell) => {
        if (!app.isWorker) return;
        app.onLeader(() => tell(`leads ${process.pid}`));
        app.onMessage('work', () => {
          app.runOnce('long', async () => {
            await new Promise((resolve) => setTimeout(resolve, 700));
            tell(`worked ${process.pid}`);
          });
        });
      },
    },
  );
  const lines = await told(4);
  const [first, worked, ...rest] = lines;
  assert.match(first, /^leads/);
  assert.equal(worked, first.replace('leads', 'worked'));
  // The primary's own line and a worker's may overtake each other.
  assert.ok(rest.some((line) => line.startsWith('leads') && line !== first), lines.join());
});
