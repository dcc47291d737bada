// Carries out a schedule on a running contender and records it: how many commands were done, and which workers were
// killed when.

import http from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import journal from './servers/journal.js';
import { HANG_MS } from './schedule.mjs';
import { connectionsOf, death, isAlive, signal } from './victims.mjs';

const { now } = journal;

/** Orders that may wait at a time; more would test nothing but a queue. */
const MOST_ORDERS = 3;
/** A worker that hangs for good has to be gone so long after it may hang. */
const REPLACE_MS = 3000;
const KILL_MS = 2000;
const BUSY_MS = 3000;
const BLOCKED_MS = 20;
/** After the last fault: how long the cluster is watched until it is whole. */
const RECOVERY_MS = 20_000;
const LOOK_MS = 10;

export class Director {
  #control;
  #port;
  #size;
  #orders = new Set();
  #watches = new Set();
  /** { from, until, held } of each worker that was struck for good, by process id; `until` once it is dead. */
  deaths = new Map();
  /** Their process ids, and those of workers that should have died and live. */
  #struckForGood = new Set();
  /** Faults that had not the end they should have, in words. */
  surprises = [];
  refusals = [];
  /** What was done, in words: { at, words }. */
  log = [];
  done = { roll: 0, scale: 0, kill: 0 };
  /** When the schedule began. */
  start = 0;
  /** Events for which there was no time. */
  leftOut = 0;
  /** From the last fault until the cluster was whole again; null without a fault, or when it never was. */
  recoveredMs = null;

  constructor({ control, port, size }) {
    this.#control = control;
    this.#port = port;
    this.#size = size;
  }

  /**
   * Runs the schedule; resolves when all orders are done and all victims have had their fate. What a slow contender
   * has not come to after `seconds` is left out, but for the last fault.
   */
  async run(events, seconds) {
    const start = (this.start = now());
    for (const event of events) {
      await wait(Math.max(0, start + event.at - now()));
      if (this.#orders.size >= MOST_ORDERS) await Promise.race(this.#orders);
      if (now() > start + seconds * 1000 && !event.isLast) {
        this.leftOut += 1;
        continue;
      }
      if (event.isLast) await this.#settled();
      if (event.do === 'roll' || event.do === 'scale') this.#order(event);
      else await this.#strike(event);
      if (event.isLast) this.recoveredMs = await this.#recovered(now());
    }
    await this.#settled();
  }

  #settled() {
    return Promise.all([...this.#orders, ...this.#watches]);
  }

  /** How long after `fault` all workers are there and ready; null when they never are. */
  async #recovered(fault) {
    while (now() < fault + RECOVERY_MS) {
      const workers = await this.#control.workers();
      const whole = workers.length === this.#size && workers.every(({ pid, ready }) => ready && this.#isSound(pid));
      if (whole) return Math.round(now() - fault);
      await wait(LOOK_MS);
    }
    return null;
  }

  #isSound(pid) {
    return isAlive(pid) && !this.#struckForGood.has(pid);
  }

  #order({ do: what, to }) {
    if (what === 'scale') this.#size = to;
    const words = what === 'scale' ? `scale to ${to}` : what;
    this.#note(now(), `${words} ordered`);
    const done = this.#control.order(what, { to }).then(
      () => {
        this.done[what] += 1;
        this.#note(now(), `${words} done`);
      },
      (error) => this.refusals.push(error.message),
    );
    this.#orders.add(done);
    done.finally(() => this.#orders.delete(done));
  }

  async #strike(event) {
    if (event.do === 'busy') return this.#keepBusy(event);
    const workers = (await this.#control.workers()).filter(({ pid, ready }) => ready && this.#isSound(pid));
    if (workers.length === 0) return undefined;
    const { pid } = workers[Math.floor(event.victim * workers.length)];
    const from = now();
    if (!signal(pid, 'SIGSTOP')) return undefined;
    const held = connectionsOf(pid);
    if (event.do === 'kill') signal(pid, 'SIGKILL');
    else this.#watch(wait(event.ms).then(() => signal(pid, 'SIGCONT')));
    this.#struck(pid, event, from, held);
    return undefined;
  }

  /** Whichever worker gets the request blocks. */
  async #keepBusy(event) {
    const from = now();
    const pid = await ask(this.#port, `/busy?ms=${event.ms}`).catch((error) => {
      this.surprises.push(`no worker took a busy loop: ${error.message}`);
    });
    if (!pid) return;
    // Its answer is out just before it blocks.
    await wait(BLOCKED_MS);
    this.#struck(Number(pid), event, from, connectionsOf(pid));
  }

  #struck(pid, event, from, held) {
    const { kills, ms = 0 } = event;
    const words = `${event.do}${ms ? ` of ${ms} ms` : ''}, worker ${pid}`;
    this.#note(from, words);
    // Whoever only pauses keeps its requests: nothing excuses their failure.
    if (!kills) return;
    const struck = { from, until: Infinity, held };
    this.#struckForGood.add(pid);
    this.deaths.set(pid, struck);
    this.#watch(
      death(pid, event.do === 'kill' ? KILL_MS : HANG_MS + REPLACE_MS).then((at) => {
        if (at === null) {
          this.deaths.delete(pid);
          this.surprises.push(`survived: ${words}`);
        } else {
          struck.until = at;
          this.done.kill += 1;
          this.#note(at, `worker ${pid} is gone`);
        }
      }),
    );
  }

  #note(at, words) {
    this.log.push({ at, words });
  }

  #watch(promise) {
    this.#watches.add(promise);
    promise.finally(() => this.#watches.delete(promise));
  }
}

function ask(port, target) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: target, agent: false, timeout: BUSY_MS });
    request.once('timeout', () => request.destroy(new Error('no answer')));
    request.once('error', reject);
    request.once('response', (response) => text(response).then(resolve, reject));
  });
}
