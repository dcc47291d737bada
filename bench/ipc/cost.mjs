// What a message of 100 B costs both sides in processor time: one way from a worker, a question of the primary's with its
// answer (50 under way at once), and a broadcast to 16 and to 64 workers as a whole, until every answer is back.

import { median, ratio, row } from '../support/figures.mjs';
import { run } from './run.mjs';

const CROWDS = [16, 64];
const WIDTHS = [8, 30, 14, 14, 14];

/**
 * Microseconds, the middle of `rounds` fresh processes: `{ sealed: { one_way, question }, plain: the same, broadcast16,
 * broadcast64 }`, each `{ primary, workers, total }`. A broadcast is sealed.
 */
export async function messageCosts({ rounds, share, say }) {
  const contender = (encryption, workers) => ({ file: 'drover.js', serialization: 'json', encryption, workers, cost: true, share });
  const taken = { sealed: [], plain: [], ...Object.fromEntries(CROWDS.map((workers) => [`broadcast${workers}`, []])) };
  say(row(['round', 'CPU time of 100 B, us', 'primary', 'workers', 'total'], WIDTHS));
  for (let round = 0; round < rounds; round += 1) {
    const note = async (name, asked) => {
      const { costs } = await run(asked);
      for (const [what, cost] of Object.entries(costs)) {
        cost.total = cost.primary + cost.workers;
        const cells = [cost.primary, cost.workers, cost.total].map((us) => us.toFixed(3));
        say(row([round + 1, what === 'broadcast' ? name : `${name} ${what}`, ...cells], WIDTHS));
      }
      taken[name].push(costs);
    };
    for (const name of round % 2 ? ['plain', 'sealed'] : ['sealed', 'plain']) await note(name, contender(name === 'sealed', 1));
    for (const workers of CROWDS) await note(`broadcast${workers}`, contender(true, workers));
  }
  const middle = (name, what) =>
    Object.fromEntries(['primary', 'workers', 'total'].map((side) => [side, ratio(median(taken[name].map((costs) => costs[what][side])))]));
  const oneWorker = (name) => ({ one_way: middle(name, 'one_way'), question: middle(name, 'question') });
  return {
    sealed: oneWorker('sealed'),
    plain: oneWorker('plain'),
    ...Object.fromEntries(CROWDS.map((workers) => [`broadcast${workers}`, middle(`broadcast${workers}`, 'broadcast')])),
  };
}
