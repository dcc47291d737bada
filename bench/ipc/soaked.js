'use strict';

// The program of the soak: node soaked.js MESSAGES SECONDS, at least so many and so long. Four workers answer, a
// random one is killed every second, and 1,000 questions are always under way. Prints what became of them, and how
// the primary's memory grew from the first third of the time (a minute at the most), after a warm-up (10 s at the
// most), to the last.

const http = require('node:http');
const { createServer } = require('../..');

const WINDOW = 1000;
const [wanted, seconds] = process.argv.slice(2).map(Number);
const app = createServer({
  app: http.createServer(),
  cluster: {
    enabled: true,
    config: {
      workers: 4,
      logging: { level: 'silent' },
      processManagement: { ready: 'boot', restartDelay: 10, maxRestartDelay: 10, maxRestarts: 1_000_000 },
      ipc: { encryption: true },
    },
  },
});

if (app.isWorker) {
  app.onMessage('ask', ({ n }) => n);
  process.on('message', () => {});
} else {
  app.cluster.start().then(soak);
}

async function soak() {
  const began = performance.now();
  let [asked, answered, failed, wrong] = [0, 0, 0, 0];
  const memory = [];
  const sampling = setInterval(() => {
    global.gc();
    memory.push({ at: performance.now() - began, rss: process.memoryUsage.rss() });
    if (memory.length % 10 === 0) console.log(`${answered} answered, ${failed} failed, ${memory.at(-1).rss >> 20} MB`);
  }, 1000);
  const killing = setInterval(() => {
    const alive = app.getAllWorkers().filter(({ state }) => state === 'running');
    const victim = alive[Math.floor(Math.random() * alive.length)];
    if (victim !== undefined) process.kill(victim.pid, 'SIGKILL');
  }, 1000);
  const codes = {};
  async function ask() {
    while (asked < wanted || performance.now() - began < seconds * 1000) {
      const n = asked++;
      try {
        if ((await app.sendToRandomWorker('ask', { n })) === n) answered += 1;
        else wrong += 1;
      } catch (error) {
        failed += 1;
        codes[error.code] = (codes[error.code] ?? 0) + 1;
        // Until somebody serves again.
        if (error.code === 'WORKER_GONE') await new Promise(setImmediate);
      }
    }
  }
  await Promise.all(Array.from({ length: WINDOW }, ask));
  clearInterval(sampling);
  clearInterval(killing);
  const span = Math.min(60_000, (performance.now() - began) / 3);
  const mean = (samples) => samples.reduce((sum, { rss }) => sum + rss, 0) / samples.length;
  const end = memory.at(-1)?.at ?? 0;
  const warm = memory.find(({ at }) => at >= Math.min(10_000, span))?.at ?? 0;
  const first = memory.filter(({ at }) => at >= warm && at <= warm + span);
  const last = memory.filter(({ at }) => at >= end - span);
  console.log(`failed: ${JSON.stringify(codes)}`);
  console.log(
    JSON.stringify({ settled: answered + failed, wrong, unsettled: asked - answered - failed - wrong, growth: mean(last) / mean(first) - 1 }),
  );
  await app.stopCluster(false);
  process.exit(0);
}
