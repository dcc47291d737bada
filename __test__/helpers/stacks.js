'use strict';

// Asks a worker for its stack many times while it does all kinds of work.

const fs = require('node:fs');
const path = require('node:path');
const { freePort, request } = require('./http');
const { folder } = require('./program');
const { run } = require('./run');

const fixtures = path.join(__dirname, '..', 'fixtures');

/** The signal by which drover asks a worker for its stack. */
const ASK = (process.report.getReport().header.glibcVersionRuntime === undefined ? 35 : 34) + 7;

/**
 * Resolves to { stacks, told }: the texts, and what the worker says of itself when it is done. `node` is a binary.
 * `workers` more than one: the others answer requests meanwhile, and `answered` says how many.
 */
async function capture(t, { captures, node, workers = 1 }) {
  const port = await freePort();
  const working = path.join(folder(t), 'working');
  fs.writeFileSync(working, '');
  const config = {
    workers,
    processManagement: { hangTimeout: '10m' },
    logging: { level: 'debug' },
  };
  const cluster = run(t, path.join(fixtures, 'clustered.js'), {
    node,
    args: [path.join(fixtures, 'hanging', 'interrupted-work.js')],
    env: { PORT: String(await freePort()), WORK_PORT: String(port), WORK_WHILE: working, CLUSTER_CONFIG: JSON.stringify(config) },
  });
  await cluster.until(/the cluster is ready/);
  const answer = request(port, { path: '/work' });
  const [, worker] = await cluster.until(/WORKING (\d+)/);

  let [going, answered] = [workers > 1, 0];
  const visit = async () => {
    for (; going; answered += 1) await request(port);
  };
  const visits = Promise.all([visit(), visit(), visit(), visit()]);

  const stacks = [];
  for (let asked = 1; asked <= captures; asked += 1) {
    process.kill(Number(worker), ASK);
    const { msg } = (await cluster.eventMany(asked, 'worker:stack')).at(-1);
    stacks.push(msg.split('\n').slice(1).join('\n'));
  }
  going = false;
  fs.rmSync(working);
  const { pid, ...told } = (await answer).json();
  await visits;
  if (pid !== Number(worker)) throw new Error(`${pid} answered for ${worker}`);
  const harmed = ['worker:unhealthy', 'worker:exit', 'worker:restart'].flatMap((name) => cluster.events(name));
  if (harmed.some(({ event, reason }) => event !== 'worker:unhealthy' || /hung/.test(reason))) throw new Error(cluster.output);
  return { stacks, told, answered };
}

module.exports = { capture };
