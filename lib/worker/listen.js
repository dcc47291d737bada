// @ts-check
'use strict';

// Every `listen()` of a worker shares the primary's listener: when Node has resolved the address and requests a handle,
// the worker asks the primary instead of binding. Sockets of this process only (`exclusive`, `reusePort`, a handle) are
// left to Node.

const { constants } = require('node:os');
const { listenError } = require('../errors');
const { addon } = require('../native');
const { Counter, addressOf } = require('../process/listen-address');
const runtime = require('../runtime');
const { ListenerShare } = require('./listener-share');

/** Node's default backlog. */
const BACKLOG = 511;

/** @param {any} server */
function isPlainHttp(server) {
  return runtime.isHttp1(server) && !runtime.isEncrypted(server);
}

/** @param {import('./worker').Worker} worker */
function shareListeners(worker) {
  const { connections } = worker;
  const counter = new Counter();
  /**
   * By address: how many servers this worker has opened there, and how long the last one was open.
   *
   * @type {Map<string, { before: number, lived_ms: number | null }>}
   */
  const visits = new Map();

  /** @param {any} server @param {import('../process/listen-address').Target} target @param {(handle: any) => void} use @param {(error: Error) => void} fail */
  function take(server, target, use, fail) {
    const { fd, mode, backlog } = target;
    if (typeof fd === 'number' && (target.isHandle || addon.workerOwnsDescriptor(fd))) {
      use(runtime.ownHandle(fd));
      if (runtime.handleOf(server)) connections.openOwn(server);
      return;
    }
    const address = addressOf(counter, target);
    const key = JSON.stringify(address);
    const visit = visits.get(key) ?? { before: 0, lived_ms: null };
    const answer = worker.listen(address, backlog || BACKLOG, { mode, ...visit });
    if (answer.errno === undefined && connections.shares.has(answer.group)) {
      addon.closeDescriptor(answer.fd);
      answer.errno = constants.errno.EADDRINUSE;
    }
    if (answer.errno !== undefined) {
      fail(listenError(answer.errno, target.host ?? answer.host, target.port));
      return;
    }
    const next = { before: visit.before + 1, lived_ms: /** @type {number | null} */ (null) };
    visits.set(key, next);
    const since = performance.now();
    const share = new ListenerShare(worker, server, answer, () => {
      next.lived_ms = Math.floor(performance.now() - since);
    });
    connections.countStreams(server);
    use(share.handle);
    // The runtime does not listen (its options are wrong, for example), and says why.
    if (runtime.handleOf(server) !== share.handle) return void addon.workerClose(answer.group);
    share.open(isPlainHttp(server));
  }

  runtime.interceptListen({ wants: () => true, take, bound: (server) => connections.openOwn(server) });
}

module.exports = { shareListeners };
