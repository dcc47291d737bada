// @ts-check
'use strict';

// Garbage collections. Bun has V8's callbacks for native addons, but calls them for no collection.
//
// Relies on: `v8.GCProfiler` lists each collection between its start and its stop, with its kind (`gcType`) and its duration in
// microseconds (`cost`); the callback of a FinalizationRegistry is called after the collection of an object that nobody has.
// Seen on: Bun 1.4.4, 1.4.5.

const { GCProfiler } = require('node:v8');

/** The kind that frees old objects too. */
const FULL = 'MarkSweepCompact';

const MICROSECONDS = 1000;

/** How long collections are gathered before they are asked for, milliseconds: at least and at most. */
const SHORTEST = 500;
const LONGEST = 10_000;
/** As many a second are those of an idle process. */
const IDLE_RATE = 2;

/** How many objects wait for a collection: the stack, which counts as references whatever it holds, may have the last one. */
const OBJECTS = 3;

/** Kept here: a registry that is collected calls nobody. @type {FinalizationRegistry<number>} */
let registry;

function started() {
  const profiler = new GCProfiler();
  profiler.start();
  return profiler;
}

/**
 * Calls back for each garbage collection from now on, within ten seconds or so. A collection wakes this by an object that it
 * collects. They are asked for seldom: the profiler measures the whole heap each time that it stops, and what this makes is
 * itself collected, which must not keep an idle process awake.
 *
 * @param {(isMajor: boolean, milliseconds: number) => void} collected
 */
function followCollections(collected) {
  let profiler = started();
  let round = 0;
  let interval = SHORTEST;
  const ask = () => {
    // The next one starts first, so that no collection falls between them.
    const next = started();
    const found = profiler.stop()?.statistics ?? [];
    profiler = next;
    wait();
    interval = found.length <= (IDLE_RATE * interval) / 1000 ? Math.min(2 * interval, LONGEST) : SHORTEST;
    for (const { gcType, cost } of found) collected(gcType === FULL, cost / MICROSECONDS);
  };
  registry = new FinalizationRegistry((of) => {
    if (of !== round) return;
    round += 1;
    setTimeout(ask, interval).unref();
  });
  const wait = () => {
    for (let count = 0; count < OBJECTS; count += 1) registry.register({}, round);
  };
  wait();
}

/** Collects all garbage. */
function collectGarbage() {
  /** @type {any} */ (globalThis).Bun.gc(true);
}

module.exports = { collectGarbage, followCollections };
