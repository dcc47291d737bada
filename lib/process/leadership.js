// @ts-check
'use strict';

// Leader election: at most one process is the leader. Tasks that must not run in every worker run in the leader, and
// leadership is given up only when they are done.

const { inspect } = require('node:util');
const { ClusterError } = require('../errors');

/** @param {unknown} scope */
function checkScope(scope) {
  if (scope === 'cluster' || scope === 'fleet') return;
  throw new ClusterError(`scope: found ${inspect(scope)}, allowed: 'cluster', 'fleet'`, 'INVALID_ARGUMENT');
}

class Leadership {
  /**
   * @param {object} made
   * @param {boolean} made.isLeader
   * @param {{ lead: () => Promise<import('../fleet/fleet').Lead | null> }} made.fleet
   * @param {() => Promise<unknown>} made.settled resolves when this process knows the primary's latest decision
   * @param {() => void} made.resigned notifies the primary that this process is no longer the leader
   */
  constructor({ isLeader, fleet, settled, resigned }) {
    this.isLeader = isLeader;
    this.fleet = fleet;
    this.settled = settled;
    this.resigned = resigned;
    /** @type {(() => void | Promise<void>)[]} */
    this.callbacks = [];
    /** Running tasks by name. @type {Map<string, Promise<any>>} */
    this.running = new Map();
  }

  /** Applies the primary's decision. @param {boolean} leads */
  async set(leads) {
    this.isLeader = leads;
    if (leads) {
      for (const callback of this.callbacks) process.nextTick(callback);
      return;
    }
    await this.done();
    this.resigned();
  }

  /** Resolves when no `runOnce` task runs. */
  async done() {
    await Promise.allSettled(this.running.values());
  }

  /** @param {() => void | Promise<void>} callback */
  onLeader(callback) {
    if (typeof callback !== 'function') throw new TypeError(`onLeader takes a function, not ${typeof callback}`);
    this.callbacks.push(callback);
    if (this.isLeader) process.nextTick(callback);
  }

  /**
   * @param {string} name
   * @param {(lead?: import('../fleet/fleet').Lead) => any} task
   * @param {{ scope?: 'cluster' | 'fleet' }} [options] `fleet`: in the leader of all machines
   */
  async runOnce(name, task, { scope = 'cluster' } = {}) {
    if (typeof task !== 'function') throw new TypeError(`runOnce takes a name and a function, not ${typeof task}`);
    checkScope(scope);
    await this.settled();
    if (!this.isLeader) return undefined;
    const lead = scope === 'fleet' ? await this.fleet.lead() : undefined;
    if (lead === null) return undefined;
    let run = this.running.get(name);
    if (run === undefined) {
      run = (async () => task(lead))().finally(() => this.running.delete(name));
      this.running.set(name, run);
    }
    return run;
  }
}

module.exports = { Leadership, checkScope };
