// @ts-check
'use strict';

// What this worker's program asks of the cluster, and who waits for the results.

const { fromCore } = require('../errors');
const { addon } = require('../native');

class Commands {
  /** @type {Map<number, { resolve: (slots: number[]) => void, reject: (error: Error) => void }>} */
  #pending = new Map();
  #lastId = 0;

  /**
   * Asks the cluster to become something else.
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

  /** The result of a command is here. @param {number} id */
  finish(id) {
    const { ok, error } = addon.workerCommandResult(id);
    const command = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) command?.reject(fromCore(error));
    else command?.resolve(ok);
  }
}

exports.Commands = Commands;
