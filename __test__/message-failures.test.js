'use strict';

// What becomes of a message that nobody answers, and of one whose handler fails.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { answers, messagingCluster } = require('./helpers/messaging-cluster');

test('the error of a handler reaches the sender with name, message, code and stack', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => app.isPrimary && tell(await app.sendToWorker(0, 'boom', {}).catch(problem)),
    { before: answers },
  );
  const [error] = await told();
  assert.equal(error.name, 'WorkerCommunicationError');
  assert.equal(error.code, 'HANDLER_FAILED');
  assert.deepEqual(error.cause, { name: 'RangeError', message: 'out of range', code: 'E_RANGE', stack: 'string' });
});

test('an error that is too long for a message reaches the sender truncated, not as a timeout', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => app.isPrimary && tell(await app.sendToWorker(0, 'long', {}).catch(problem)),
    {
      before: (app) =>
        app.isWorker &&
        app.onMessage('long', () => {
          throw new Error('x'.repeat(5000));
        }),
      config: { ipc: { maxMessageSize: 1024 } },
    },
  );
  const [{ code, message }] = await told();
  assert.equal(code, 'HANDLER_FAILED');
  assert.match(message, /^The handler of 'long' failed: x+$/);
});

test('a message that cannot be answered fails with a specific code', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (!app.isPrimary) return;
      const code = (sent) => sent.then(() => 'answered', (error) => problem(error).code);
      tell(await code(app.sendToWorker(0, 'nobody', 1)));
      tell(await code(app.sendToWorker(7, 'sum', 1)));
      tell(await code(app.sendToWorker('x', 'sum', 1)));
      tell(await code(app.sendToWorker(0, 'sum', 'x'.repeat(2_000_000))));
      tell(await code(app.sendToWorker(0, 'large', {})));
      tell(await code(app.sendToWorker(0, 'never', {}, { timeout: 50 })));
      tell(await code(app.sendToWorker(0, 'never', {}, { timeout: 'soon' })));
      tell((await app.broadcastToWorkers('nobody', 1)).map(({ success, code }) => [success, code]));
    },
    { before: answers },
  );
  assert.deepEqual(await told(8), [
    'NO_HANDLER',
    'NO_SUCH_WORKER',
    'NO_SUCH_WORKER',
    'MESSAGE_TOO_LARGE',
    'MESSAGE_TOO_LARGE',
    'MESSAGE_TIMEOUT',
    'INVALID_ARGUMENT',
    [
      [false, 'NO_HANDLER'],
      [false, 'NO_HANDLER'],
    ],
  ]);
});

for (const maxRetries of [8, 0]) {
  test(`a message to a worker that is being replaced waits for it, with ${maxRetries} retries`, async (t) => {
    const { told } = messagingCluster(
      t,
      async (app, tell, problem) => {
        if (!app.isPrimary) return;
        const { pid } = app.getAllWorkers()[1];
        const gone = new Promise((resolve) => app.cluster.once('worker:exit', resolve));
        process.kill(pid, 'SIGKILL');
        await gone;
        const sent = app.sendToWorker(1, 'sum', { a: 1, b: 2 });
        tell(await sent.then((sum) => [sum, app.getAllWorkers()[1].pid !== pid], (error) => problem(error).code));
      },
      {
        before: new Function('app', `
          (${answers})(app);
          // Without a retry: however late the message is sent, its worker's successor is not there yet.
          const isSuccessor = ${maxRetries === 0} && app.isWorker && app.getAllWorkers()[Number(app.workerId)].generation > 1;
          if (isSuccessor) app.start = () => new Promise((resolve) => setTimeout(resolve, 3_600_000));
        `),
        config: { errorHandling: { retry: { maxRetries, initialDelay: 100, maxDelay: 2000 } } },
      },
    );
    assert.deepEqual(await told(1), [maxRetries > 0 ? [3, true] : 'WORKER_GONE']);
  });
}

test('requests to a worker that dies fail at once, in the primary and in other workers', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (!app.isPrimary) return;
      const code = (sent) => sent.then(() => 'answered', (error) => problem(error).code);
      // All are ready: what worker 0 asks is under way when this is answered.
      await app.sendToWorker(0, 'ask');
      const since = performance.now();
      const waiting = [app.sendToWorker(1, 'never', {}), app.sendToWorker(1, 'die', {})];
      tell({ primary: await Promise.all(waiting.map(code)), soon: performance.now() - since < 20_000 });
    },
    {
      before: (app, tell) => {
        if (!app.isWorker) return;
        app.onMessage('never', () => new Promise(() => {}));
        app.onMessage('die', () => process.kill(process.pid, 'SIGKILL'));
        app.onMessage('ask', () => void app.sendToWorker(1, 'never', {}).catch(({ code }) => tell({ worker: code })));
      },
    },
  );
  const lines = await told(2);
  assert.deepEqual(lines.find(({ primary }) => primary), { primary: ['WORKER_GONE', 'WORKER_GONE'], soon: true });
  assert.deepEqual(lines.find(({ worker }) => worker), { worker: 'WORKER_GONE' });
});

test('beyond ipc.maxPending a message is refused at once, and earlier ones are answered', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell, problem) => {
      if (!app.isPrimary) return;
      const code = (sent) => sent.then(() => 'answered', (error) => problem(error).code);
      const sent = Array.from({ length: 5 }, (_, a) => code(app.sendToWorker(0, 'later', { a })));
      tell(await Promise.all(sent));
      tell(await code(app.sendToWorker(0, 'later', {})));
    },
    { before: answers, config: { ipc: { maxPending: 3 } } },
  );
  const [first, after] = await told(2);
  assert.deepEqual(first, ['answered', 'answered', 'answered', 'MESSAGE_QUEUE_FULL', 'MESSAGE_QUEUE_FULL']);
  assert.equal(after, 'answered');
});
