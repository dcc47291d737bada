'use strict';

// A machine of bench:fleet. Each worker tells on a socket who it is, and every 10 ms whether it leads the fleet: that is
// the resource, which only a leader may use, with its fencing token.

const { once } = require('node:events');
const net = require('node:net');
const { client } = require('../../__test__/helpers/redis');
const { createServer } = require('../..');

const { port, redis, workers, number, resource } = JSON.parse(process.env.BENCH_MACHINE);
const app = createServer({
  redis: { host: '127.0.0.1', port: redis, prefix: 'drover:bench:' },
  cluster: { enabled: true, workers, config: { monitoring: { enabled: false }, logging: { level: 'error' } } },
});
const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;

app.onMessage('echo', (data) => data);
app.get('/', (request, response) => {
  app.cache.get('key');
  response.send('ok');
});

/** What the whole fleet is asked: who is there, and whether all answer. */
app.get('/whole', async (request, response) => {
  try {
    const members = await app.fleet.members();
    const answers = await app.broadcastToWorkers('echo', 'x', { scope: 'fleet', timeout: 1000 });
    const others = new Set(answers.filter(({ success, machine }) => success && machine !== undefined).map(({ machine }) => machine));
    response.json({ members: members.length, others: others.size });
  } catch ({ code, message }) {
    response.json({ members: 0, others: 0, code, message });
  }
});
app.get('/set', async ({ query }, response) => {
  await app.cache.set(query.key, 'value');
  response.json(app.cache.get(query.key));
});
app.get('/get', ({ query }, response) => response.json(app.cache.get(query.key) ?? null));
app.get('/invalidate', async ({ query }, response) => {
  await app.cache.invalidate(query.key);
  response.json(true);
});

/** Broadcasts with answers, alternating with round trips to Redis on a connection of its own. */
app.get('/rounds', async ({ query }, response) => {
  const own = await client(() => net.connect(redis, '127.0.0.1'));
  const [broadcasts, pings] = [[], []];
  let failed = 0;
  for (let round = 0; round < Number(query.count); round += 1) {
    const begun = now();
    await own.command('PING');
    const between = now();
    const answers = await app.broadcastToWorkers('echo', round, { scope: 'fleet' });
    broadcasts.push(now() - between);
    pings.push(between - begun);
    if (answers.length < Number(query.answers) || answers.some(({ success, data }) => !success || data !== round)) failed += 1;
  }
  own.close();
  response.json({ broadcasts, pings, failed });
});

app.listen(port, '127.0.0.1');

if (app.isWorker) {
  // Neither keeps a worker alive that stops.
  const socket = net.connect(resource).unref();
  // The bench has ended.
  socket.on('error', () => process.exit());
  const tell = (what) => socket.write(`${JSON.stringify({ number, ...what })}\n`);
  once(socket, 'connect').then(() => {
    tell({ pid: process.pid, primary: process.ppid });
    setInterval(() => {
      const from = now();
      const { token } = app.fleet;
      if (app.fleet.isLeader && token !== null) tell({ token, from, to: now() });
    }, 10).unref();
  });
}
