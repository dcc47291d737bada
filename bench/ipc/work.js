'use strict';

// What both contenders of the messages' bench do: the same messages, the same loops. A side is
// { ask(worker, message), counted(count): what it takes to receive so many, start(worker, what) }.

/** An event as programs send them; 89 bytes of JSON. */
const record = (n) => ({ id: n, type: 'event', topic: 'order.created', user: `u${n}`, amount: 12.5 + n, ok: true });

/** Data of about so many bytes of JSON, or a Buffer. */
function dataOf(size) {
  if (size === '1MB_buffer') return Buffer.alloc(1 << 20, 7);
  const bytes = { '100B': 89, '1KB': 1024, '10KB': 10_240, '1MB': 1 << 20 }[size];
  return bytes <= 100 ? record(7) : Array.from({ length: Math.round(bytes / 89) }, (_, n) => record(n));
}

/** Messages in a run, one way and there and back. */
const COUNTS = {
  '100B': { way: 300_000, back: 3000 },
  '1KB': { way: 20_000, back: 2000 },
  '10KB': { way: 4000, back: 1000 },
  '1MB': { way: 60, back: 30 },
  '1MB_buffer': { way: 60, back: 30 },
};

/** In a worker: so many at a time, so that the other side has its turn. */
const SLICE = 500;

/** Sends `count` messages, with a pause after each slice. */
async function flood(send, size, count) {
  const message = { type: 'm', data: dataOf(size) };
  for (let sent = 1; sent <= count; sent += 1) {
    send(message);
    if (sent % SLICE === 0) await new Promise(setImmediate);
  }
}

const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/** Microseconds of `count` questions, one after the other. */
async function roundTrips(ask, size, count) {
  const data = dataOf(size);
  for (let n = 0; n < count / 4; n += 1) await ask(0, data);
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const since = process.hrtime.bigint();
    await ask(0, data);
    times.push(Number(process.hrtime.bigint() - since) / 1000);
  }
  times.sort((a, b) => a - b);
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

/** Milliseconds until every worker has answered a broadcast, the middle of `count`. */
async function broadcasts(broadcast, count) {
  const data = dataOf('1KB');
  for (let n = 0; n < 3; n += 1) await broadcast(data);
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const since = performance.now();
    await broadcast(data);
    times.push(performance.now() - since);
  }
  return percentile(times.sort((a, b) => a - b), 0.5);
}

/** Microseconds on a processor, of this process so far. */
function processorTime() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Of 100 B, in one load. A broadcast is to all workers. */
const COST_COUNTS = { oneWay: 200_000, question: 12_000, broadcast: 10_000 };

/** Loads that are measured. */
const LOADS = 6;

/** Questions under way at once. */
const AT_ONCE = 50;

/** Microseconds on a processor for each of `count`, on both sides: of the loads the cheapest, since what else runs on the machine adds to it. */
async function costOf(spent, count, act) {
  await act(count);
  const costs = [];
  for (let load = 0; load < LOADS; load += 1) {
    const before = await spent();
    await act(count);
    const after = await spent();
    costs.push({ primary: (after.primary - before.primary) / count, workers: (after.workers - before.workers) / count });
  }
  const least = (side) => Math.min(...costs.map((cost) => cost[side]));
  return { primary: least('primary'), workers: least('workers') };
}

async function costs({ ask, broadcast, receive, spent }, { workers, share }) {
  const data = dataOf('100B');
  const times = async (count, act) => {
    for (let n = 0; n < count; n += 1) await act();
  };
  if (workers > 1) {
    const count = Math.ceil((COST_COUNTS.broadcast * share) / workers);
    return { broadcast: await costOf(spent, count, (many) => times(many, () => broadcast(data))) };
  }
  const questions = () => Promise.all(Array.from({ length: AT_ONCE }, () => ask(0, data)));
  return {
    one_way: await costOf(spent, Math.ceil(COST_COUNTS.oneWay * share), (many) => receive('100B', many)),
    question: await costOf(spent, Math.ceil(COST_COUNTS.question * share), (many) => times(many / AT_ONCE, questions)),
  };
}

/**
 * What a run measures: { sizes: { size: { perSecond, p50, p99 } } }, { broadcast }, or the processor time of both sides,
 * { costs: { one_way, question } } or { costs: { broadcast } }, each { primary, workers }.
 *
 * @param {any} side
 * @param {{ workers: number, sizes: string[], share: number, cost?: boolean }} asked `share` of the usual counts
 */
async function measure(side, { workers, sizes, share, cost = false }) {
  const { ask, broadcast, receive } = side;
  if (cost) return { costs: await costs(side, { workers, share }) };
  if (workers > 1) return { broadcast: await broadcasts(broadcast, Math.max(5, Math.round(20 * share))) };
  const figures = {};
  for (const size of sizes) {
    const { way, back } = COUNTS[size];
    const count = Math.max(20, Math.round(way * share));
    await receive(size, Math.max(10, Math.round(count / 5)));
    const since = performance.now();
    await receive(size, count);
    const perSecond = (count / (performance.now() - since)) * 1000;
    figures[size] = { perSecond, ...(await roundTrips(ask, size, Math.max(20, Math.round(back * share)))) };
  }
  return { sizes: figures };
}

module.exports = { flood, measure, processorTime };
