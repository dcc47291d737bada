// @ts-check
'use strict';

// Commands of this worker's program to the cluster, and their pending results.

const { fromCore } = require('../errors');
const { addon } = require('../native');

class Commands {
  /** @type {Map<number, { resolve: (slots: number[]) => void, reject: (error: Error) => void }>} */
  #pending = new Map();
  #lastId = 0;

  /**
   * Sends a command to the cluster.
   *
   * @param {string} verb
   * @param {any} argument
   * @returns {Promise<number[]>} the slots that serve because of it
   */
  send(verb, argument) {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const { error } = addon.workerCommand(id, verb, argument ?? null);
      if (error) reject(fromCore(error));
      else this.#pending.set(id, { resolve, reject });
    });
  }

  /** Settles a command whose result has arrived. @param {number} id */
  finish(id) {
    const { ok, error } = addon.workerCommandResult(id);
    const command = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) command?.reject(fromCore(error));
    else command?.resolve(ok);
  }
}

exports.Commands = Commands;
