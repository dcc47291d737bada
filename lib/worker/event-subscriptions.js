// @ts-check
'use strict';

// The cluster's events for the managers in this worker that have listeners. The primary sends events while there is a
// subscriber.

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

  /** Passes received events to the subscribers. */
  publish() {
    for (let next = addon.workerEvent(); next !== null; next = addon.workerEvent()) {
      for (const subscriber of this.#subscribers) subscriber.onEvent({ ...next.event, timestamp: next.timestamp });
    }
  }
}

exports.EventSubscriptions = EventSubscriptions;
