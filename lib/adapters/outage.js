// @ts-check
'use strict';

// Outages of Redis, for what goes on without it (`redis.onFailure: 'local'`).

/** @typedef {import('../fleet/fleet').Fleet} Fleet */

/** @type {WeakMap<Fleet, Outage>} */
const outages = new WeakMap();

class Outage {
  #fleet;
  /** Nothing is asked of Redis until it is back. */
  #isAway = false;
  /** @type {(() => void)[]} */
  #endings = [];

  /** @param {Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    fleet.on('unavailable', () => {
      this.#isAway = true;
    });
    fleet.on('available', () => {
      this.#isAway = false;
      for (const end of this.#endings) end();
    });
  }

  get isAway() {
    return this.#isAway;
  }

  /** Whenever Redis is back. @param {() => void} call */
  onEnd(call) {
    this.#endings.push(call);
  }

  /**
   * Does something with Redis, or else here.
   *
   * @template T
   * @param {() => Promise<T>} there
   * @param {(failure: unknown) => T | Promise<T>} here `failure`: of Redis, which may have done it; undefined: it was not
   * asked
   * @returns {Promise<T>}
   */
  async try(there, here) {
    if (this.#isAway) return here(undefined);
    try {
      return await there();
    } catch (error) {
      if (/** @type {any} */ (error).code !== 'FLEET_UNAVAILABLE') throw error;
      // A server that answers and refuses, because it is full, may do the next.
      if (!this.#fleet.isAvailable) this.#isAway = true;
      return here(error);
    }
  }
}

/** One for all adapters of a process. @param {Fleet} fleet */
function outageOf(fleet) {
  const known = outages.get(fleet);
  if (known !== undefined) return known;
  const made = new Outage(fleet);
  outages.set(fleet, made);
  return made;
}

exports.outageOf = outageOf;
