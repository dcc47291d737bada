// The report of a run: the result of every request, with those inside a killed worker counted separately, as tables.

import fs from 'node:fs';
import { row } from '../support/figures.mjs';
import { readJournal, wasInKilledWorker, workerOf } from './blame.mjs';
import { VERDICTS } from './ledger.mjs';

/** Failures that are told one by one. */
const MOST_LINES = 20;

/** Asks the fleet how all ended; `half` are the figures of the measurement at half load, or null. */
export async function account({ fleet, director, journal, half }) {
  const noted = readJournal(fs.readFileSync(journal, 'utf8'));
  const { figures, failures, kinds, reopened, resent } = await fleet.result(noted.executions);
  for (const failure of failures) {
    failure.excused = wasInKilledWorker(failure, noted, director.deaths);
    failure.worker = workerOf(failure, noted, director.deaths);
  }
  const excused = failures.filter((failure) => failure.excused).length;
  const { failed = 0, hung = 0, requests = 0 } = half ?? {};
  const totals = {
    requests: figures.requests + requests,
    ok: figures.ok + requests - failed - hung,
    failed: figures.failed - excused + failed,
    hung: figures.hung + hung,
    wrong: figures.wrong,
    duplicated: figures.duplicated,
    failed_in_killed_worker: excused,
  };
  return { totals, failures, kinds, reopened, resent };
}

const KIND_WIDTHS = [18, 8, 8, 8, 8, 10, 8];

export function printKinds({ kinds, reopened, resent }) {
  console.log(`\n${row(['kind', ...VERDICTS, 'reopened'], KIND_WIDTHS)}`);
  for (const [kind, counts] of Object.entries(kinds)) {
    const cells = VERDICTS.map((verdict) => counts[verdict]);
    console.log(row([kind, ...cells, reopened[kind] ?? '-'], KIND_WIDTHS));
  }
  if (resent > 0) console.log(`sent again behind a Connection: close: ${resent}`);
}

function tally(words) {
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}

/** One failure with what helps to find its cause. */
function line({ id, kind, verdict, reason, begun, at, worker, connection }) {
  const where = worker === undefined ? 'in no worker' : `in worker ${worker}`;
  const age = (connection) => `${connection.clientPort} -> ${connection.serverPort}, opened ${(begun - connection.opened).toFixed(1)} ms before`;
  const over = connection ? age(connection) : 'no connection noted';
  return `${(at - begun).toFixed(1)} ms after it was sent, ${where} (${over}): ${kind} ${id} ${verdict}, ${reason}`;
}

/** What was done to the cluster, and between it the first failures, in their order. */
function printHistory({ log, start }, failures) {
  const entries = [
    ...log.map(({ at, words }) => ({ at, words: `    ${words}` })),
    ...failures.slice(0, MOST_LINES).map((failure) => ({ at: failure.at, words: line(failure) })),
  ];
  for (const { at, words } of entries.sort((a, b) => a.at - b.at)) {
    console.log(`${((at - start) / 1000).toFixed(3).padStart(10)}  ${words}`);
  }
}

/** Why requests were not ok, and what went otherwise than the schedule meant. */
export function printFailures({ failures, director }) {
  const ours = failures.filter(({ excused }) => !excused);
  const theirs = failures.filter(({ excused }) => excused);
  const print = (title, some) => {
    if (some.length === 0) return;
    console.log(`\n${title}`);
    const words = tally(some.map(({ kind, verdict, reason }) => `${kind}: ${verdict}, ${reason}`));
    for (const [reason, count] of words) console.log(`${String(count).padStart(6)}  ${reason}`);
  };
  print('in a killed worker', theirs);
  print('not ok', ours);
  if (ours.length > 0) printHistory(director, ours);
  for (const [words, count] of tally([...director.refusals, ...director.surprises])) console.log(`${count} x ${words}`);
  if (director.leftOut > 0) console.log(`left out, the orders before took too long: ${director.leftOut}`);
}
