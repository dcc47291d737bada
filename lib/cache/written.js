// @ts-check
'use strict';

// The result of a write that is already visible to this process. Whoever awaits it waits until all processes see it, or
// gets the failure; whoever does not pays for neither.

class Written {
  #connection;
  #number;
  /** @type {Promise<void> | null} */
  #promise = null;

  /** @param {import('./connection').Connection} connection @param {number} number of the request */
  constructor(connection, number) {
    this.#connection = connection;
    this.#number = number;
  }

  /** @returns {Promise<void>} */
  #done() {
    const promise = this.#promise ?? this.#connection.written(this.#number);
    this.#promise = promise;
    return promise;
  }

  /** @param {(value: void) => any} [fulfilled] @param {(error: any) => any} [rejected] */
  then(fulfilled, rejected) {
    return this.#done().then(fulfilled, rejected);
  }

  /** @param {(error: any) => any} [rejected] */
  catch(rejected) {
    return this.#done().catch(rejected);
  }

  /** @param {() => void} [over] */
  finally(over) {
    return this.#done().finally(over);
  }

  get [Symbol.toStringTag]() {
    return 'Promise';
  }
}

module.exports = { Written };
