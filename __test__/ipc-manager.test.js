'use strict';

// The IPCManager outside a cluster: any child process with an IPC channel, and the documents' message examples.

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');
const { IPCManager } = require('drover');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { write } = require('./helpers/program');

const child = () => {
  const { IPCManager } = require('drover');
  const ipc = new IPCManager();
  ipc.registerHandler('sum', ({ data: { a, b } }) => a + b);
  ipc.registerHandler('boom', () => {
    throw Object.assign(new RangeError('no'), { code: 'E_NO' });
  });
  ipc.registerHandler('who', ({ type, from, to }) => [type, from, to]);
  ipc.registerHandler('parent', async () => ipc.sendToMaster('name', 'child'));
  ipc.registerHandler('die', () => process.exit(3));
  process.send('up');
};

async function family(t, count) {
  const file = write(t, child, { name: 'child.js' });
  const ipc = new IPCManager();
  const children = Array.from({ length: count }, () => fork(file, { env: { ...process.env, NODE_TEST_CONTEXT: '' } }));
  t.after(() => {
    ipc.destroy();
    for (const one of children) one.kill('SIGKILL');
  });
  await Promise.all(children.map((one) => once(one, 'message')));
  children.forEach((one, index) => ipc.registerWorker(String(index), one));
  return { ipc, children };
}

test('children of node:child_process answer, one by one, at random and all together', async (t) => {
  const { ipc } = await family(t, 2);
  assert.equal(await ipc.sendToWorker('0', 'sum', { a: 1, b: 2 }), 3);
  assert.equal(await ipc.sendToRandomWorker('sum', { a: 2, b: 2 }), 4);
  assert.deepEqual(await ipc.sendToWorker('1', 'who', null), ['who', 'master', '1']);
  const responses = await ipc.broadcastToWorkers('sum', { a: 3, b: 3 });
  assert.deepEqual(
    responses.map(({ workerId, success, data }) => [workerId, success, data]),
    [
      ['0', true, 6],
      ['1', true, 6],
    ],
  );
  assert.deepEqual(ipc.getWorkerStats(), { total: 2, alive: 2, dead: 0 });
});

test('a child sends requests to its parent, and errors arrive with name, message and code', async (t) => {
  const { ipc } = await family(t, 1);
  ipc.registerHandler('name', ({ data, from }) => `${data} of ${from}`);
  assert.equal(await ipc.sendToWorker('0', 'parent', null), 'child of worker');
  const error = await ipc.sendToWorker('0', 'boom', null).then(assert.fail, (thrown) => thrown);
  assert.deepEqual([error.name, error.code], ['WorkerCommunicationError', 'HANDLER_FAILED']);
  assert.deepEqual([error.cause.name, error.cause.message, error.cause.code], ['RangeError', 'no', 'E_NO']);
});

test('requests to a child that ends fail at once, and it counts as dead', async (t) => {
  const { ipc, children } = await family(t, 2);
  const gone = once(children[0], 'exit');
  await assert.rejects(ipc.sendToWorker('0', 'die', null), { code: 'WORKER_GONE' });
  await gone;
  assert.deepEqual(ipc.getWorkerStats(), { total: 2, alive: 1, dead: 1 });
  assert.equal(await ipc.sendToRandomWorker('sum', { a: 1, b: 1 }), 2, 'the other one is asked');
  await assert.rejects(ipc.sendToWorker('7', 'sum', {}), { code: 'NO_SUCH_WORKER' });
  await assert.rejects(ipc.sendToWorker('1', 'nobody', {}), { code: 'NO_HANDLER' });
  assert.throws(() => ipc.registerWorker('2', {}), { code: 'INVALID_ARGUMENT' });
});

test('the documents’ message examples run as written', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const taskData = { id: 1 };
      // Broadcast to all workers
      await app.broadcastToWorkers({
        type: 'cache:invalidate',
        pattern: 'user:*',
      });
      // Send to random worker
      await app.sendToRandomWorker({
        type: 'task:process',
        data: taskData,
      });
      await app.broadcastToWorkers({ type: 'config:update', config: { a: 1 } });
      tell('sent');
    },
    {
      before: (app, tell) => {
        const updateConfiguration = (config) => tell(['config', config]);
        const processTask = (data) => tell(['task', data]);
        // In worker process
        process.on('message', (message) => {
          switch (message.type) {
            case 'cache:invalidate':
              app.invalidateCache(message.pattern);
              break;

            case 'config:update':
              updateConfiguration(message.config);
              break;

            case 'task:process':
              processTask(message.data);
              break;
          }
        });
      },
    },
  );
  const lines = (await told(4)).map((line) => JSON.stringify(line)).sort();
  assert.deepEqual(lines, ['"sent"', '["config",{"a":1}]', '["config",{"a":1}]', '["task",{"id":1}]']);
});
