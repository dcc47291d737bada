// The schedule of operations and faults, generated from a seed: no clock, no I/O. The same arguments give the same
// schedule, so that a run can be repeated.

import { Random } from './random.mjs';

/** The cluster's size: it begins with `first` and is scaled between the others. */
export const SIZES = { least: 2, first: 3, most: 4 };

/** How long a worker may hang before it has to be replaced; the contender is configured with it. */
export const HANG_MS = 2000;

/** A stop or a busy loop is either clearly shorter or clearly longer than that. */
const SHORT = [200, 1200];
const LONG = [6000, 8000];

const GAP_MS = { rolls: [1200, 2400], all: [1400, 2800] };
/** Quiet at the beginning, and at the end time to become whole under load. */
const QUIET_MS = { before: 1000, after: 3000 };

const FAULTS = ['kill', 'stop', 'busy'];
const KINDS = {
  rolls: ['roll', 'roll', 'scale', 'scale', 'scale'],
  all: ['roll', 'roll', 'scale', 'scale', 'kill', ...FAULTS],
};

const hang = (random, size, kills = random.chance(0.5)) => ({ kills, ms: random.whole(...(kills ? LONG : SHORT)) });

/** What a kind of event is, besides its time; `size` is what the cluster was last scaled to. */
const MAKERS = {
  roll: () => ({}),
  scale: (random, size) => {
    const sizes = [];
    for (let to = SIZES.least; to <= SIZES.most; to += 1) if (to !== size) sizes.push(to);
    return { to: random.pick(sizes) };
  },
  // The victim is the worker at this fraction of the list of those that are ready.
  kill: (random) => ({ kills: true, victim: random.next() }),
  stop: (random, size, kills) => ({ ...hang(random, size, kills), victim: random.next() }),
  busy: hang,
};

/**
 * Events in order of their time: { at, do } with `at` in milliseconds from the beginning, and `to` of a scaling,
 * `victim` and `ms` of a fault, and whether it `kills` (by itself, or because it lasts longer than HANG_MS). With
 * faults the last event is one that kills; it `isLast`, and strikes when all before it has settled.
 */
export function schedule({ seed, seconds, faults }) {
  const random = new Random(seed);
  const events = [];
  let size = SIZES.first;
  let at = QUIET_MS.before;
  while (at < seconds * 1000 - QUIET_MS.after) {
    const what = random.pick(KINDS[faults]);
    const event = { at, do: what, ...MAKERS[what](random, size) };
    size = event.to ?? size;
    events.push(event);
    at += random.whole(...GAP_MS[faults]);
  }
  if (faults === 'all') {
    const what = random.pick(FAULTS);
    events.push({ at, do: what, ...MAKERS[what](random, size, true), isLast: true });
  }
  return events;
}
