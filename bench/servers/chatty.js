'use strict';

// Workers that write numbered lines at a steady pace: <worker> <number> and text up to LINE bytes. The last line of
// each has their number. RATE: bytes per second of all workers, SECONDS: duration, CLUSTER_CONFIG: a ClusterConfig.

const { createServer } = require('../..');

const LINE = 256;
/** Lines per write, like a logger that batches, and writes per event-loop iteration. */
const GATHERED = 64;
const WRITES = 32;

const config = JSON.parse(process.env.CLUSTER_CONFIG);
const app = createServer({
  app: (request, response) => response.end(),
  cluster: { enabled: true, config: { ...config, processManagement: { ready: 'boot' } } },
});

async function chat() {
  const { RATE, SECONDS, WORKER_ID } = process.env;
  const rate = Number(RATE) / config.workers / LINE;
  const line = (number) => `${WORKER_ID} ${number} `.padEnd(LINE - 1, 'the quick brown fox jumps over the lazy dog ') + '\n';
  const since = performance.now();
  let written = 0;
  for (let elapsed = 0; elapsed < Number(SECONDS); elapsed = (performance.now() - since) / 1000) {
    const due = rate * elapsed;
    for (let writes = 0; written < due && writes < WRITES; writes += 1) {
      let text = '';
      for (let count = 0; count < GATHERED; count += 1) text += line((written += 1));
      process.stdout.write(text);
    }
    await (written < due ? new Promise(setImmediate) : new Promise((resolve) => setTimeout(resolve, 5)));
  }
  const seconds = (performance.now() - since) / 1000;
  console.log(`${WORKER_ID} done ${written} ${written * LINE} ${seconds}`);
  // Without this the worker would exit and be replaced.
  setInterval(() => {}, 60_000);
}

if (app.isWorker) chat();
else app.start().then(() => console.log('ready'));
