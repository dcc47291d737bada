'use strict';

// Messages by type: what all processes sent, got and answered, exact, and kept when a worker is killed.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { messagingCluster } = require('./helpers/messaging-cluster');

/** Answers, fails, waits, dies; 'counts' says what this process is told of the cluster's messages. */
const answers = (app) => {
  app.onMessage('counts', async () => (await app.getClusterMetrics()).messages);
  if (!app.isWorker) return;
  app.onMessage('sum', ({ a, b }) => a + b);
  app.onMessage('boom', () => {
    throw new Error('boom');
  });
  app.onMessage('slow', () => new Promise((resolve) => setTimeout(resolve, 100)));
  app.onMessage('die', () => process.kill(process.pid, 'SIGKILL'));
  app.onMessage('relay', async ({ to }) => {
    for (let count = 0; count < 5; count += 1) await app.sendToWorker(to, 'sum', { a: 1, b: 2 });
  });
};

/** Without the times. */
const numbers = (messages, ...types) =>
  Object.fromEntries(types.map((type) => [type, ['sent', 'received', 'answered', 'failed'].map((key) => messages[type][key])]));

test('messages are counted by type, with the same counts in every process, also after a worker is killed', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (!app.isPrimary) return;
      await app.broadcastToWorkers('sum', { a: 1, b: 2 });
      await app.sendToWorker('0', 'relay', { to: '1' });
      await app.sendToWorker('0', 'boom', {}).catch(problem);
      await app.sendToWorker('0', 'slow', {});
      const ready = new Promise((resolve) => app.cluster.once('worker:ready', resolve));
      await app.sendToWorker('0', 'die', {}).catch(problem);
      await ready;
      tell((await app.getClusterMetrics()).messages);
      tell(await app.sendToWorker('1', 'counts', {}));
    },
    { before: answers, config: { processManagement: { restartDelay: 10 } } },
  );
  const [inPrimary, inWorker] = await told(2);
  const expected = { sum: [7, 7, 7, 0], relay: [1, 1, 1, 0], boom: [1, 1, 0, 1], slow: [1, 1, 1, 0], die: [1, 1, 0, 1] };
  assert.deepEqual(numbers(inPrimary, ...Object.keys(expected)), expected);
  assert.deepEqual(numbers(inWorker, ...Object.keys(expected)), expected);
  assert.ok(inPrimary.slow.averageTime >= 95 && inPrimary.slow.averageTime < 5000, JSON.stringify(inPrimary.slow));
});
