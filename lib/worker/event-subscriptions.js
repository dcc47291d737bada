// @ts-check
'use strict';

// The cluster's events, for managers of this worker whose program listens to them. The primary sends them as long as one
// does.

const { addon } = require('../native');

/** @typedef {{ onEvent(event: any): void }} Subscriber */

class EventSubscriptions {
  /** @type {Set<Subscriber>} */
  #subscribers = new Set();

  /** @param {Subscriber} subscriber @param {boolean} subscribes */
  set(subscriber, subscribes) {
    const before = this.#subscribers.size;
    if (subscribes) this.#subscribers.add(subscriber);
    else this.#subscribers.delete(subscriber);
    if ((before > 0) !== this.#subscribers.size > 0) addon.workerFollow(subscribes);
  }

  /** Gives every event that has come to the subscribers. */
  publish() {
    for (let next = addon.workerEvent(); next !== null; next = addon.workerEvent()) {
      for (const subscriber of this.#subscribers) subscriber.onEvent({ ...next.event, timestamp: next.timestamp });
    }
  }
}

exports.EventSubscriptions = EventSubscriptions;
