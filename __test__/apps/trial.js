'use strict';

// One program under one process and under drover: what it answers, what a roll and a killed worker cost, whether its
// own shutdown runs everywhere, how long a stop takes, and what the output has that one process's has not.

const assert = require('node:assert/strict');
const { isDeepStrictEqual } = require('node:util');
const { setTimeout: wait } = require('node:timers/promises');
const { askOnce } = require('./clients');
const { heldBy } = require('./connections');
const { install, start } = require('./deploy');
const { Load } = require('./load');
const { noise, served, writers } = require('./output');
const { serve } = require('./services');

/** Questions of new clients whose answers are compared. */
const VISITS = 6;

/** Answers before, between and after what happens to a cluster. */
const ANSWERS = 40;

/** Milliseconds that an idle stop may take more than that of one process. */
const STOP_ALLOWANCE = 300;

const MOST_PAIRS = 3;

/** Milliseconds after which a worker waits for nothing that its last request may have begun: `lingerTimeout`, and some. */
const IDLE_TIME = 5500;

/** Milliseconds within which a program must serve. */
const START_PATIENCE = 60_000;

/** Resolves to the first answer: a program tells nobody but its clients that it serves. */
async function firstAnswer(program, { running, place }) {
  const deadline = performance.now() + START_PATIENCE;
  for (;;) {
    try {
      const answer = await askOnce(program, place);
      if (program.says.test(JSON.stringify(answer))) return answer;
      throw new Error(`an answer without ${program.says}: ${JSON.stringify(answer)}`);
    } catch (error) {
      if (!running.isAlive || performance.now() > deadline) {
        throw new Error(`does not serve. Its output:\n${running.output}`, { cause: error });
      }
      await wait(20);
    }
  }
}

/** Resolves to the milliseconds until the program has ended after SIGTERM. */
async function stopTime({ running }) {
  const since = performance.now();
  running.signal('SIGTERM');
  const end = await running.exit;
  const took = performance.now() - since;
  await running.gone();
  return { took, end };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** What one process does: { answer, onceDone, output }. */
async function alone(t, program, installed, services) {
  const deployed = await start(t, program, installed, 'one process', services);
  const answer = await firstAnswer(program, deployed);
  assert.deepEqual(await askOnce(program, deployed.place), answer, 'one process answers differently each time');
  const onceDone = await program.once?.(deployed.place);
  const load = new Load(t, program, deployed.place, answer);
  await load.more(ANSWERS);
  assert.deepEqual(load.failures.map(({ error }) => error.message), [], 'one process fails');
  // In the middle of its work, as the workers of a roll are: what it writes then is no noise.
  const stopped = stopTime(deployed);
  // Who is sent away reads it when it asks again.
  if (program.away) await load.refused();
  await load.stop();
  await stopped;
  if (program.away) assert.ok(load.away.length > 0, `one process sends none of its clients away with ${program.away}`);
  const { output } = deployed.running;
  if (program.hook) assert.match(output, program.hook, 'one process does not run its shutdown hooks');
  return { answer, onceDone, output };
}

/**
 * The failures that a killed worker must not have caused. Its connections go with it, and what it has read of datagrams:
 * one question each of a client that was there before. Which of these clients it served the programs do not say, but
 * the kernel says how many there were.
 */
function costs(failures, killedAt, { connections, datagrams }) {
  const earlier = failures.filter(({ opened }) => opened <= killedAt);
  const later = failures.filter(({ opened }) => opened > killedAt);
  const excused = datagrams ? earlier.length : connections;
  return [...earlier.slice(excused), ...later].map(({ error }) => error.message);
}

/** A roll and a killed worker under load, then a stop. */
async function clustered(t, program, installed, services, { answer, onceDone, output }) {
  const deployed = await start(t, program, installed, 'drover', services);
  const { running, place } = deployed;
  await firstAnswer(program, deployed);
  const differing = [];
  for (let visit = 0; visit < VISITS; visit += 1) {
    const given = await askOnce(program, place);
    if (!isDeepStrictEqual(given, answer)) differing.push(given);
  }

  if (program.once) {
    const done = await program.once(place);
    if (!isDeepStrictEqual(done, onceDone)) differing.push(done);
  }

  const rolled = new Load(t, program, place, answer);
  await rolled.more(ANSWERS);
  running.signal('SIGUSR2');
  await running.event(/^command:(?:done|failed)$/, { command: 'restartCluster' });
  await running.eventMany(2, 'worker:exit', { reason: 'stopped' });
  await rolled.more(ANSWERS);
  await rolled.stop();

  const killed = new Load(t, program, place, answer);
  await killed.more(ANSWERS);
  const before = { raw: running.raw, errors: running.rawErrors };
  const [victim] = served(running).slice(-1);
  // Stopped first, so that what it has is what it had at its death.
  process.kill(victim, 'SIGSTOP');
  const held = heldBy(victim, place);
  process.kill(victim, 'SIGKILL');
  const killedAt = performance.now();
  await running.replacement(victim);
  await killed.more(ANSWERS);
  await killed.stop();
  const { length } = running.raw;

  const { end } = await stopTime(deployed);
  const hooked = program.hook === undefined ? [] : served(running).filter((pid) => pid !== victim);
  const ran = program.hook === undefined ? [] : writers(running.raw, program.hook);
  // What the death itself made drover and the program say is between the two halves.
  const said = { raw: before.raw + running.raw.slice(length), errors: before.errors };
  return {
    differing: [...differing, ...(isDeepStrictEqual(end, { code: 0, signal: null }) ? [] : [end])],
    roll: { answered: rolled.answered, failures: rolled.failures.map(({ error }) => error.message) },
    kill: {
      answered: killed.answered,
      failures: costs(killed.failures, killedAt, held),
    },
    hooks: { of: hooked.length, missed: hooked.filter((pid) => !ran.includes(pid)) },
    noise: noise(said, output).filter((line) => !program.mutters?.test(line)),
    output: running.raw + running.rawErrors,
  };
}

/**
 * Stops so many milliseconds after the first answer, one way and then the other: at least `pairs` of them, three at the
 * most, which is what there is as long as drover seems slow.
 */
async function stopsAfter(idleTime, t, program, installed, services, pairs) {
  const times = { 'one process': [], drover: [] };
  const isSlow = () => median(times.drover) - median(times['one process']) > STOP_ALLOWANCE;
  for (let pair = 0; pair < pairs || (pair < MOST_PAIRS && isSlow()); pair += 1) {
    for (const way of Object.keys(times)) {
      const deployed = await start(t, program, installed, way, services);
      await firstAnswer(program, deployed);
      await wait(idleTime);
      times[way].push((await stopTime(deployed)).took);
    }
  }
  return { alone: median(times['one process']), drover: median(times.drover), isSlow: isSlow() };
}

/** Stops right after the first answer, where nothing seems to go on; of a program that lingers, stops when it is idle. */
async function stopping(...args) {
  const atOnce = await stopsAfter(0, ...args);
  if (!atOnce.isSlow) return { ...atOnce, lingered: null };
  return { ...(await stopsAfter(IDLE_TIME, ...args)), lingered: atOnce.drover };
}

/**
 * Tries a program; resolves to null when it cannot be had, else to { differing, roll, kill, hooks, noise, stop }.
 * `pairs` of stops are measured at least.
 */
async function trial(t, program, { pairs = MOST_PAIRS } = {}) {
  const installed = await install(t, program);
  if (installed === null) return null;
  const services = await serve(t, program);
  if (services === null) return null;
  const one = await alone(t, program, installed, services);
  const result = await clustered(t, program, installed, services, one);
  const stop = await stopping(t, program, installed, services, pairs);
  return { ...result, stop };
}

/** What was wrong, by kind, each with the first few; null when nothing was. */
function faults({ differing, roll, kill, hooks, stop, noise }) {
  const all = {
    differing,
    roll: roll.failures,
    kill: kill.failures,
    hooks: hooks.missed,
    stop: stop.isSlow ? [`${Math.round(stop.drover)} ms, one process ${Math.round(stop.alone)} ms`] : [],
    noise: [...new Set(noise)],
  };
  const there = Object.entries(all).filter(([, list]) => list.length > 0);
  return there.length === 0 ? null : Object.fromEntries(there.map(([name, list]) => [name, list.slice(0, 5)]));
}

module.exports = { faults, trial };
