'use strict';

// The processors that a cluster may use: under a quota 'auto' starts fewer workers, and CPU per cent is of what there is.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { controlGroup } = require('./helpers/control-groups');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');
const { skip } = require('./helpers/skip');

/** Workers that are busy all the time; the primary prints how many there are, and the CPU per cent of some seconds. */
function busy({ port, workers }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((_, response) => response.end()),
    cluster: { enabled: true, config: { workers, healthCheck: { enabled: false } } },
  });
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) {
      const spin = () => {
        for (const until = Date.now() + 20; Date.now() < until; );
        setImmediate(spin);
      };
      return spin();
    }
    console.log(`WORKERS ${app.getAllWorkers().length}`);
    setInterval(async () => console.log(`CPU ${(await app.getClusterMetrics()).cpuUsage}`), 1000);
  });
}

/** CPU per cent when the workers have been busy for some seconds. */
async function usage(running) {
  const all = await running.untilMany(6, /^CPU (.*)$/m);
  return all.slice(2).map(([, percent]) => Number(percent));
}

/** Less than all only because other programs run. */
const saturates = (percents) => percents.every((percent) => percent <= 100) && Math.max(...percents) > 30;

test("under a quota of one CPU 'auto' is one worker, and CPU per cent is at most 100", async (t) => {
  let group;
  try {
    group = controlGroup(t, { cpu: 1 });
  } catch (error) {
    return skip(t, `no control group with a quota can be made here: ${error.message}`, error, { forbidden: true });
  }
  const running = program(t, busy, { given: { port: await freePort(), workers: 'auto' }, ...group.options });
  await running.until(/^WORKERS 1$/m);
  const percents = await usage(running);
  assert.ok(saturates(percents), percents.join());
  running.signal('SIGTERM');
  await running.gone();
  const two = program(t, busy, { given: { port: await freePort(), workers: 2 }, ...group.options });
  await two.until(/^WORKERS 2$/m);
  const shared = await usage(two);
  assert.ok(saturates(shared), shared.join());
  two.signal('SIGTERM');
  await two.gone();
});

test('with more busy workers than CPUs, CPU per cent is at most 100', async (t) => {
  const running = program(t, busy, { given: { port: await freePort(), workers: 8 } });
  const percents = await usage(running);
  assert.ok(saturates(percents), percents.join());
});
