// @ts-check
'use strict';

// Makes this process a worker: attaches it to its primary and installs the hooks (shared listeners, `process.send`,
// signals that wait for the primary's command).

const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { ClusterError, unwrap } = require('../errors');
const { closeHttpGracefully } = require('../http/graceful-close');
const { joinLastPackets } = require('../http/last-response');
const { countFetches } = require('../http/fetch-requests');
const { identifyRequests, markLines } = require('../http/request-ids');
const { countRequests } = require('../http/requests');
const { addLines } = require('../http/response-headers');
const { addon } = require('../native');
const { hold } = require('../process/copies');
const runtime = require('../runtime');
const { shareDatagrams } = require('./datagram-sockets');
const { shareListeners } = require('./listen');
const { followLimits } = require('./max-connections');
const { provideSend } = require('./process-send');
const { followClose } = require('./server-close');
const { followOutput } = require('./startup-output');
const { shareTickets } = require('./tls-tickets');
const { reportErrors } = require('./uncaught-errors');
const { becomeWorker } = require('./worker');

/**
 * Calls back when the script has run to its end, including an ES module's top-level await. Importing the script again
 * waits for that without running it twice.
 *
 * @param {() => void} act
 */
function whenLoaded(act) {
  setImmediate(() => {
    // A script that only a CommonJS hook can load (of a TypeScript runner) cannot be imported, and has run by now. A
    // script that throws ends the process anyway.
    const run = () => runtime.isMainLoaded() && act();
    import(pathToFileURL(scriptFile()).href).then(act, run);
  });
}

/** The file of the running script, which may be given without its extension. */
function scriptFile() {
  const file = path.resolve(process.argv[1]);
  try {
    return require.resolve(file);
  } catch {
    return file;
  }
}

/** Supports the primary's hang detection: it may request a stack, and must know about a debugger. */
function answerForHangs() {
  addon.workerTrace();
  runtime.onInspectorOpen(addon.workerInspected);
}

/** The servers of a runtime that accepts by itself get their connections from drover from now on. */
function followSockets() {
  unwrap(addon.workerFollowSockets(performance.now()));
  const virtualListener = { bind: () => void unwrap(addon.workerBindTrial()), hasBound: addon.workerHasBound, end: addon.workerEndTrial };
  runtime.acceptsAtVirtualListener(virtualListener).then((lacks) => {
    if (lacks === null) return;
    console.error(`drover: This version of the runtime gets no connections from drover: ${lacks}. Use a version that is tested with drover, or CLUSTER_ENABLED=false.`);
    process.exit(1);
  });
}

/**
 * Makes this process a worker of the primary with this pid, if it is one.
 *
 * @param {number} primary
 * @param {() => any} loadPackage returns the package's exports; null while they are being loaded
 */
function attach(primary, loadPackage) {
  const { ok: hello, error } = addon.attachWorker(primary);
  if (error) throw new ClusterError(`This worker could not attach to its primary: ${error.message}`, error.code);
  if (!hello) return;
  const worker = becomeWorker(hello);
  hold(worker, loadPackage);
  process.title = hello.title;
  if (runtime.acceptsItself) followSockets();
  shareListeners(worker);
  worker.datagrams = shareDatagrams(worker, whenLoaded);
  shareTickets(worker.tickets);
  worker.connections.countStreams = countRequests(worker);
  if (runtime.acceptsItself) {
    countFetches(worker);
    runtime.onHttpConnection((server, socket) => worker.virtualListeners?.came(server, socket));
  }
  addLines(worker);
  if (!runtime.acceptsItself) joinLastPackets();
  followLimits(worker);
  closeHttpGracefully(worker);
  followClose(worker);
  worker.signals.listen();
  worker.inner.follow();
  if (hello.traced) answerForHangs();
  followOutput(worker);
  runtime.followChildren();
  if (hello.measured) runtime.followCollections(addon.countCollection);
  if (hello.captured) markLines();
  if (hello.request_ids) identifyRequests();
  provideSend(worker);
  reportErrors(worker);
  // With ready: 'boot' the worker is ready when its script is loaded.
  if (hello.ready === 'boot') whenLoaded(() => worker.ready());
  // Messages that arrived with the hello are already read and would stay unhandled until the primary's next message:
  // leadership, or a drain command if the cluster stops while its workers start.
  setImmediate(addon.workerReadInbox);
}

module.exports = { attach };
