// @ts-check
'use strict';

// Whether this process leads: at most one does. Work that must not run in every worker runs where it leads, and
// leadership is given back only when that work is done.

class Leadership {
  /**
   * @param {object} made
   * @param {boolean} made.isLeader
   * @param {() => Promise<unknown>} made.settled resolves when what was decided so far is known here
   * @param {() => void} made.resigned tells the primary that this process leads no more
   */
  constructor({ isLeader, settled, resigned }) {
    this.isLeader = isLeader;
    this.settled = settled;
    this.resigned = resigned;
    /** @type {(() => void | Promise<void>)[]} */
    this.callbacks = [];
    /** Work under way, by its name. @type {Map<string, Promise<any>>} */
    this.running = new Map();
  }

  /** The primary has decided. @param {boolean} leads */
  async set(leads) {
    this.isLeader = leads;
    if (leads) {
      for (const callback of this.callbacks) process.nextTick(callback);
      return;
    }
    await this.done();
    this.resigned();
  }

  /** Resolves when nothing runs that runs once. */
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
   * @param {() => any} task
   */
  async runOnce(name, task) {
    if (typeof task !== 'function') throw new TypeError(`runOnce takes a name and a function, not ${typeof task}`);
    await this.settled();
    if (!this.isLeader) return undefined;
    let run = this.running.get(name);
    if (run === undefined) {
      run = (async () => task())().finally(() => this.running.delete(name));
      this.running.set(name, run);
    }
    return run;
  }
}

module.exports = { Leadership };
