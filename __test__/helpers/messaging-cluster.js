'use strict';

// Clusters whose processes exchange messages and report to the test what they received.

const { program } = require('./program');

/**
 * A cluster of two workers that runs `body(app, tell)` in every process once the cluster has started; `told` reads what
 * `tell` prints. `before(app)` runs before the start. `code`: options that are functions, as the text of members.
 */
function messagingCluster(t, body, { config = {}, code = '', before = () => {}, given = {}, ...options } = {}) {
  const text = `
    const given = ${JSON.stringify(given)};
    const { createServer } = require('drover');
    const http = require('node:http');
    const config = { workers: 2, ...${JSON.stringify(config)}, ${code} };
    const app = createServer({ app: http.createServer((_, response) => response.end()), cluster: { enabled: true, config } });
    const tell = (value) => console.log('TOLD ' + JSON.stringify(value));
    const problem = ({ name, code, message, cause }) => ({ name, code, message, ...(cause && { cause: { name: cause.name, message: cause.message, code: cause.code, stack: typeof cause.stack } }) });
    (${before})(app, tell, given);
    app.start(0, '127.0.0.1').then(() => (${body})(app, tell, problem, given));
  `;
  const running = program(t, text, options);
  return {
    ...running,
    running,
    /** Resolves to the next value that the program printed with `tell`. */
    async told(count = 1) {
      const lines = () => [...running.stdout.matchAll(/^TOLD (.*)$/gm)].map(([, json]) => JSON.parse(json));
      await running.untilMany(count, /^TOLD .*$/m);
      return lines();
    },
  };
}

/** For `before`: handlers in every worker, some of which fail. */
const answers = (app) => {
  if (!app.isWorker) return;
  app.onMessage('sum', ({ a, b }) => a + b);
  app.onMessage('later', async ({ a }) => `${a} later`);
  app.onMessage('boom', () => {
    throw Object.assign(new RangeError('out of range'), { code: 'E_RANGE' });
  });
  app.onMessage('never', () => new Promise(() => {}));
  app.onMessage('die', () => process.kill(process.pid, 'SIGKILL'));
  app.onMessage('large', () => 'x'.repeat(2_000_000));
  app.onMessage('block', () => {
    const until = Date.now() + 1000;
    while (Date.now() < until);
  });
};

module.exports = { answers, messagingCluster };
