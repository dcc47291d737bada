// @ts-check
'use strict';

// Every `listen()` of a worker shares the primary's listener. Node has worked out all forms of its arguments,
// and has resolved the name, when it calls `_listen2`; that is where the worker asks the primary instead of
// binding by itself. Errors are Node's own: a handle whose listen() fails makes Node build them.
// What a program says is this process's own (`exclusive`, `reusePort`, a handle) is left to Node.

const http = require('node:http');
const { constants } = require('node:os');
const tls = require('node:tls');
const { Counter, addressOf, askedOf, replaceListen } = require('../process/listen-address');
const { Door } = require('./listener-share');
const { addon } = require('../native');

/** Node's own, where nobody says otherwise. */
const BACKLOG = 511;

/** @param {any} server */
function isPlainHttp(server) {
  return server instanceof http.Server && !(server instanceof tls.Server);
}

/** @param {number} errno */
function failing(errno) {
  return { listen: () => -errno, close() {}, fchmod: () => 0 };
}

/** @param {import('./worker').Worker} worker */
function share(worker) {
  const counter = new Counter();
  /** This worker's servers at each address: how many there were, and how long the last was open. @type {Map<string, { before: number, lived_ms: number | null }>} */
  const visits = new Map();

  replaceListen((server, place, proceed) => {
    const { exclusive, mode } = askedOf(server, place);
    const given = server._handle;
    if (given || exclusive || (typeof place.fd === 'number' && addon.workerOwnsDescriptor(place.fd))) {
      proceed();
      if (server._handle) worker.serveAlone(server, given ? worker.doorWith(given) : undefined);
      return;
    }
    const address = addressOf(counter, place);
    const key = JSON.stringify(address);
    const visit = visits.get(key) ?? { before: 0, lived_ms: null };
    const answer = worker.listen(address, place.backlog || BACKLOG, { mode, ...visit });
    if (answer.errno === undefined && worker.doors.has(answer.group)) {
      addon.closeDescriptor(answer.fd);
      answer.errno = constants.errno.EADDRINUSE;
    }
    if (answer.errno !== undefined) {
      server._handle = failing(answer.errno);
      return proceed(answer.host);
    }
    const next = { before: visit.before + 1, lived_ms: /** @type {number | null} */ (null) };
    visits.set(key, next);
    const since = performance.now();
    const door = new Door(worker, server, answer, () => {
      next.lived_ms = Math.floor(performance.now() - since);
    });
    server._handle = door.handle;
    worker.countStreams(server);
    proceed(answer.host);
    door.open(isPlainHttp(server));
  });
}

module.exports = { share };
