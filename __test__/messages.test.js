'use strict';

// Messages between real processes: who hears what, and who answers.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answers, messagingCluster } = require('./helpers/messaging-cluster');
const { program, write } = require('./helpers/program');

test('a broadcast delivers the message to each worker once, and returns one response per worker', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const responses = await app.broadcastToWorkers({ type: 'cache:invalidate', pattern: 'user:*' });
      tell(responses.map(({ workerId, success, data }) => ({ workerId, success, data })));
    },
    { before: (app, tell) => app.isWorker && process.on('message', (message) => tell({ by: app.workerId, message })) },
  );
  const lines = await told(3);
  const message = { type: 'cache:invalidate', pattern: 'user:*' };
  const heard = lines.filter(({ by }) => by !== undefined).sort((a, b) => a.by - b.by);
  assert.deepEqual(heard, [{ by: '0', message }, { by: '1', message }]);
  const responses = lines.find((line) => Array.isArray(line));
  assert.deepEqual(responses, [{ workerId: '0', success: true }, { workerId: '1', success: true }]);
});

test('a type and data make a message, and the answer of its handler is the data of the response', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const responses = await app.broadcastToWorkers('sum', { a: 1, b: 2 });
      tell(responses.map(({ data }) => data));
      tell(await app.sendToWorker('1', 'later', { a: 'see you' }));
      tell(await app.sendToRandomWorker({ type: 'sum', data: { a: 3, b: 4 } }));
    },
    { before: answers },
  );
  assert.deepEqual(await told(3), [[3, 3], 'see you later', 7]);
});

test('workers reach each other and themselves, also while the primary’s JavaScript is blocked', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (app.isPrimary || app.workerId !== '0') return;
      const ready = () => app.getAllWorkers().filter(({ detail }) => detail === 'ready').length;
      while (ready() < 2) await new Promise(setImmediate);
      process.send('block');
      // The answer says that the other one lives; until it is blocked the primary may still have its turn.
      for (let round = 0; round < 200; round += 1) await app.sendToWorker(1, 'sum', { a: round, b: 1 });
      tell(await app.sendToWorker(0, 'sum', { a: 20, b: 1 }));
      tell((await app.broadcastToWorkers('sum', { a: 1, b: 1 })).map(({ workerId, data }) => [workerId, data]));
      tell((await app.broadcastToWorkers('sum', { a: 1, b: 1 }, { self: true })).map(({ workerId }) => workerId));
    },
    {
      before: (app, tell) => {
        app.onMessage('sum', ({ a, b }) => a + b);
        if (!app.isPrimary) return;
        app.cluster.once('message', () => {
          tell('blocked');
          for (;;);
        });
      },
    },
  );
  const lines = await told(4);
  assert.ok(lines.includes('blocked'));
  assert.deepEqual(lines.filter((line) => line !== 'blocked'), [21, [['1', 2]], ['0', '1']]);
});

test('a worker sends requests to the primary, whose handlers answer like those of a worker', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (app.workerId !== '1') return;
      tell(await app.sendToPrimary('who', 'me'));
      tell(await app.sendToMaster({ type: 'who', data: 'I' }));
      tell((await app.sendToPrimary('nobody').catch(problem)).code);
    },
    {
      before: (app) =>
        app.isPrimary &&
        app.registerHandler('who', ({ type, data, from, workerId, timestamp }) => [type, data, from, workerId, timestamp > 0]),
    },
  );
  assert.deepEqual(await told(3), [['who', 'me', 'worker', '1', true], ['who', 'I', 'worker', '1', true], 'NO_HANDLER']);
});

test('process.send reaches the primary’s listeners with its sender, calls its callback, and is not lost at an exit', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      // Nor does its successor say anything.
      if (app.isPrimary || app.workerId !== '0' || app.getAllWorkers()[0].generation > 1) return;
      app.onMessage('go', () => {
        process.send('last words');
        process.exit(0);
      });
      process.send({ hello: 1 }, (error) => tell({ called: error }));
    },
    {
      before: (app, tell) =>
        app.isPrimary &&
        app.cluster.on('message', ({ id, pid }, message) => {
          tell({ from: id, isPid: pid > 0, message });
          // Nothing answers that: it ends.
          if (message.hello) app.sendToWorker(0, 'go').catch(() => {});
        }),
    },
  );
  const lines = await told(3);
  assert.ok(lines.some(({ called }) => called === null));
  const heard = lines.filter(({ from }) => from !== undefined);
  assert.deepEqual(heard.map(({ message }) => message), [{ hello: 1 }, 'last words']);
  assert.deepEqual([heard[0].from, heard[0].isPid], ['0', true]);
});

test('a type has one handler, unregisterHandler removes it, and invalid arguments are refused with the value found', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const code = (act) => {
        try {
          act();
          return 'fine';
        } catch (error) {
          return error.code;
        }
      };
      app.onMessage('x', () => 1);
      tell([
        code(() => app.onMessage('x', () => 2)),
        code(() => app.registerHandler('y', 'no function')),
        code(() => app.onMessage(5, () => {})),
        code(() => app.unregisterHandler('x')),
        code(() => app.onMessage('x', () => 2)),
      ]);
    },
  );
  assert.deepEqual(await told(), [['HANDLER_EXISTS', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'fine', 'fine']]);
});

test('JSON keeps Buffers of any size; ‘advanced’ keeps Maps, Dates, BigInts and typed arrays as well', async (t) => {
  for (const serialization of ['json', 'advanced']) {
    const { told } = messagingCluster(
      t,
      async (app, tell, problem, { serialization }) => {
        if (!app.isPrimary) return;
        const { toJSON } = Buffer.prototype;
        const small = Buffer.from('small');
        const large = Buffer.alloc(300_000, 7);
        const back = await app.sendToWorker(0, 'echo', { small, nested: [{ large }], text: 'ä€😀' });
        const kept = back.small.equals(small) && back.nested[0].large.equals(large) && Buffer.isBuffer(back.small);
        tell([kept, back.text]);
        if (serialization === 'json') {
          const deep = { a: { b: { c: [large] } }, d: { toJSON: () => ({ small }) }, e: { type: 'Buffer', data: 'text' } };
          const { a, d, e } = await app.sendToWorker(0, 'echo', deep);
          const whole = await app.sendToWorker(0, 'echo', small);
          const circle = { small };
          circle.itself = circle;
          const refused = await app.sendToWorker(0, 'echo', circle).catch(({ name }) => name);
          tell([a.b.c[0].equals(large), d.small.equals(small), e.data, whole.equals(small), refused, Buffer.prototype.toJSON === toJSON]);
          return;
        }
        const rich = { map: new Map([[1, new Date(5)]]), big: 10n ** 30n, bytes: new Float64Array([1.5]) };
        const again = await app.sendToWorker(0, 'echo', rich);
        tell([again.map.get(1).getTime(), String(again.big), again.bytes[0]]);
      },
      {
        before: (app) => app.isWorker && app.onMessage('echo', (data) => data),
        config: { ipc: { serialization } },
        given: { serialization },
      },
    );
    const lines = await told(2);
    assert.deepEqual(lines[0], [true, 'ä€😀'], serialization);
    const more = { json: [true, true, 'text', true, 'TypeError', true], advanced: [5, String(10n ** 30n), 1.5] };
    assert.deepEqual(lines[1], more[serialization]);
  }
});

test('a listener that throws causes Node’s uncaughtException in its process, and the sender gets an error', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => app.isPrimary && tell((await app.sendToWorker(0, 'x', 1).catch(problem)).code),
    {
      before: (app, tell) => {
        if (!app.isWorker) return;
        process.on('uncaughtException', ({ message }) => tell(`uncaught: ${message}`));
        process.on('message', () => {
          throw new Error('thrown by a listener');
        });
      },
    },
  );
  assert.deepEqual((await told(2)).sort(), ['HANDLER_FAILED', 'uncaught: thrown by a listener']);
});

test('invalidateCache notifies every worker once, although the documented listener calls it again', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      // When every worker is ready: who is not there yet hears nothing.
      if (!app.isPrimary) return;
      await app.invalidateCache('user:*');
      tell('settled');
    },
    {
      before: (app, tell) =>
        app.isWorker &&
        process.on('message', async (message) => {
          if (message.type !== 'cache:invalidate') return;
          tell(`${app.workerId} ${message.pattern}`);
          await null;
          app.invalidateCache(message.pattern);
        }),
    },
  );
  assert.deepEqual((await told(3)).sort(), ['0 user:*', '1 user:*', 'settled']);
  running.signal('SIGTERM');
  await running.exit;
  assert.equal((running.stdout.match(/^TOLD/gm) ?? []).length, 3, 'nobody told it again');
});

test('events of the cluster reach the managers of workers whose program listens', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (app.workerId !== '0') return;
      app.cluster.once('cluster:scaled', ({ oldCount, newCount, timestamp }) => tell([oldCount, newCount, timestamp > 0]));
      await app.scaleUp(1);
    },
  );
  assert.deepEqual(await told(), [[2, 3, true]]);
});

test('a worker that only waits for messages stays alive, and ends at a stop', async (t) => {
  const running = program(
    t,
    ({ file }) => {
      const { ClusterManager } = require('drover');
      const manager = new ClusterManager({ workers: 1, exec: file, processManagement: { ready: 'boot' } });
      const { IPCManager } = require('drover');
      const ipc = new IPCManager();
      manager.setIPCManager(ipc);
      manager.start().then(async () => {
        console.log(`ANSWER ${await ipc.sendToWorker('0', 'add', [1, 2])} ${JSON.stringify(ipc.getWorkerStats())}`);
        await manager.stop();
        console.log('STOPPED');
      });
    },
    { given: { file: write(t, waiting, { name: 'worker.js' }) } },
  );
  await running.until(/ANSWER 3 \{"total":1,"alive":1,"dead":0\}/);
  await running.until('STOPPED');
  assert.deepEqual(await running.exit, { code: 0, signal: null });
});

function waiting() {
  const { IPCManager } = require('drover');
  new IPCManager().registerHandler('add', ({ data: [a, b] }) => a + b);
  process.on('message', () => {});
}

test('without a cluster messages reach the process itself, with the same limits and errors', async (t) => {
  const running = program(t, () => {
    const { createServer } = require('drover');
    const app = createServer({ cluster: { enabled: false, config: { ipc: { maxMessageSize: 1024 } } } });
    app.onMessage('sum', ({ a, b }) => a + b);
    process.on('message', (message) => console.log(`HEARD ${message.type}`));
    const code = (sent) => sent.then((value) => value, (error) => error.code);
    (async () => {
      const [response] = await app.broadcastToWorkers('sum', { a: 1, b: 2 });
      console.log(
        'TOLD',
        JSON.stringify([
          response.data,
          await app.sendToPrimary('sum', { a: 2, b: 2 }),
          await app.sendToRandomWorker('sum', { a: 3, b: 2 }),
          await code(app.sendToWorker(0, 'sum', 'x'.repeat(2000))),
          await code(app.sendToWorker(1, 'sum', {})),
          app.isLeader,
          await app.runOnce('job', () => 'ran'),
        ]),
      );
      process.exit(0);
    })();
  });
  await running.until('HEARD sum');
  await running.until(/^TOLD \[3,4,5,"MESSAGE_TOO_LARGE","NO_SUCH_WORKER",true,"ran"\]$/m);
});
