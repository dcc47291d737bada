// p99 latency while the cluster rolls without a pause, over p99 without rolls, at half of the load that it can
// serve. Load is new connections, a request each; latency counts from when a connection was due. The workers are
// warm before, and a phase has some twenty thousand requests: a pause of the machine's alone is less than a hundredth.

import { load } from '../support/loadgen.mjs';
import { median } from '../support/figures.mjs';

const CONNECTIONS = 64;
/** Enough for every connection that is due while the slowest is waited for. */
const MOST_AT_ONCE = 512;
const WARM_UP_S = 3;
const CAPACITY_S = 1;
const PHASE_S = 5;
const PAIRS = 5;

/** Rolls again and again until `over` resolves; resolves to their number when the last is done. */
async function rollWhile(control, over) {
  let isOver = false;
  over.finally(() => (isOver = true)).catch(() => undefined);
  let rolls = 0;
  while (!isOver) {
    await control.order('roll');
    rolls += 1;
  }
  return rolls;
}

/** Resolves to { ratio, requests, failed, hung }; `say` is told each pair. */
export async function halfLoad({ port, control, say }) {
  const figures = { requests: 0, failed: 0, hung: 0 };
  const count = ({ conns, errors, stuck }) => {
    figures.requests += conns + errors + stuck;
    figures.failed += errors;
    figures.hung += stuck;
  };
  const ratios = [];
  await load('new', port, { connections: CONNECTIONS, seconds: WARM_UP_S });
  for (let pair = 0; pair < PAIRS; pair += 1) {
    // Anew each time, because the machine may have others to serve.
    const { per_second: capacity } = await load('new', port, { connections: CONNECTIONS, seconds: CAPACITY_S });
    const rate = Math.round(capacity / 2);
    const phase = () => load('new', port, { connections: MOST_AT_ONCE, seconds: PHASE_S, rate });
    const still = await phase();
    const loaded = phase();
    const [rolling, rolls] = await Promise.all([loaded, rollWhile(control, loaded)]);
    [still, rolling].forEach(count);
    ratios.push(rolling.p99_us / still.p99_us);
    const ms = (microseconds) => (microseconds / 1000).toFixed(1);
    say(`half load, ${rate} conn/s: p99 ${ms(still.p99_us)} ms, with ${rolls} rolls ${ms(rolling.p99_us)} ms`);
  }
  return { ratio: median(ratios), ...figures };
}
