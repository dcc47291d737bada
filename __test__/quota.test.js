'use strict';

// The processors that a cluster may use: under a quota 'auto' starts fewer workers, and CPU per cent is of what there is.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { availableParallelism } = require('node:os');
const { test } = require('node:test');
const { controlGroup } = require('./helpers/control-groups');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');
const { skip } = require('./helpers/skip');

/**
 * Workers that are busy all the time; the primary prints how many there are, and once a second what drover and what the
 * kernel say of their processor time.
 */
function busy({ port, workers }) {
  const fs = require('node:fs');
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((_, response) => response.end()),
    cluster: { enabled: true, config: { workers, healthCheck: { enabled: false } } },
  });
  const ticks = ({ pid }) => {
    const [user, system] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13);
    return Number(user) + Number(system);
  };
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) {
      const spin = () => {
        for (const until = Date.now() + 20; Date.now() < until; );
        setImmediate(spin);
      };
      return spin();
    }
    console.log(`WORKERS ${app.getAllWorkers().length}`);
    setInterval(async () => {
      const { cpuUsage } = await app.getClusterMetrics();
      const used = app.getAllWorkers().reduce((sum, worker) => sum + ticks(worker), 0);
      console.log(`CPU ${cpuUsage} ${performance.now()} ${used}`);
    }, 1000);
  });
}

const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK']).stdout);

/** Seconds that are compared. The latest sample may be a second old, which is little of them. */
const SECONDS = 10;

/** CPU per cent over the same seconds: as drover says, each of them, and as the kernel has counted, of so many CPUs. */
async function usage(running, cpus) {
  const all = await running.untilMany(3 + SECONDS, /^CPU (.*) (.*) (.*)$/m);
  const lines = all.slice(2).map(([, ...numbers]) => numbers.map(Number));
  const [, began, before] = lines[0];
  const [, ended, after] = lines.at(-1);
  const counted = ((after - before) / TICKS_PER_SECOND / ((ended - began) / 1000) / cpus) * 100;
  return { told: lines.slice(1).map(([percent]) => percent), counted };
}

/** However much of the processors other programs leave. */
function assertTold({ told, counted }) {
  const mean = told.reduce((sum, percent) => sum + percent) / told.length;
  const all = `${told.map((percent) => percent.toFixed(1)).join()} are told, ${counted.toFixed(1)} % is counted`;
  assert.ok(Math.abs(mean - counted) < 2 + counted / 10, all);
  assert.ok(told.every((percent) => percent > 0 && percent <= 100), all);
}

test("under a quota of one CPU 'auto' is one worker, and CPU per cent is at most 100", async (t) => {
  let group;
  try {
    group = controlGroup(t, { cpu: 1 });
  } catch (error) {
    return skip(t, `no control group with a quota can be made here: ${error.message}`, error, { forbidden: true });
  }
  const running = program(t, busy, { given: { port: await freePort(), workers: 'auto' }, ...group.options });
  await running.until(/^WORKERS 1$/m);
  assertTold(await usage(running, 1));
  running.signal('SIGTERM');
  await running.gone();
  const two = program(t, busy, { given: { port: await freePort(), workers: 2 }, ...group.options });
  await two.until(/^WORKERS 2$/m);
  assertTold(await usage(two, 1));
  two.signal('SIGTERM');
  await two.gone();
});

test('with more busy workers than CPUs, CPU per cent is at most 100', async (t) => {
  const running = program(t, busy, { given: { port: await freePort(), workers: 8 } });
  assertTold(await usage(running, Math.min(8, availableParallelism())));
});
