// @ts-check
'use strict';

// Node's internal messages on the IPC channel of a child process.
//
// Relies on: the event 'internalMessage' of `process` and of a ChildProcess; messages with `cmd`: 'NODE_CLUSTER' and of
// these `act`: 'newconn' (with `seq`) and 'disconnect' to a worker, and `accepted` (with `ack`, the `seq`) from it;
// 'NODE_DEBUG_ENABLED' when the inspector of a process is open; `cluster.settings.execArgv`.
// Seen on: Node.js 20, 22, 24, 26.

const cluster = /** @type {any} */ (require('node:cluster'));

/** Tracks the connections that node:cluster's primary gives to a worker.
 *
 * @param {any} channel the worker's ChildProcess
 * @param {{ given(seq: number): void, taken(seq: number): void }} hooks
 */
function onConnectionsGiven(channel, { given, taken }) {
  const { send } = channel;
  channel.send = (/** @type {any[]} */ ...args) => {
    const [message] = args;
    if (message?.cmd === 'NODE_CLUSTER' && message.act === 'newconn') given(message.seq);
    return Reflect.apply(send, channel, args);
  };
  channel.on('internalMessage', (/** @type {any} */ message) => {
    if (message?.cmd === 'NODE_CLUSTER' && 'accepted' in message) taken(message.ack);
  });
}

/** In a worker of node:cluster: calls back before Node closes its servers because its primary disconnects it. @param {() => void} disconnects */
function beforeDisconnect(disconnects) {
  /** @param {any} message */
  const hear = (message) => {
    if (message?.cmd !== 'NODE_CLUSTER' || message.act !== 'disconnect') return;
    process.removeListener('internalMessage', hear);
    disconnects();
  };
  process.prependListener('internalMessage', hear);
}

/** Calls back when an inspector is opened in this process, in whatever way. @param {() => void} opened */
function onInspectorOpen(opened) {
  process.on('internalMessage', (/** @type {any} */ message) => {
    if (message?.cmd === 'NODE_DEBUG_ENABLED') opened();
  });
}

/**
 * Replaces `cluster.fork` by `forked`, which gets Node's own `fork` with a file to preload.
 *
 * @param {(fork: (preload: string) => any) => any} forked
 */
function interceptFork(forked) {
  const { fork } = cluster;
  cluster.fork = (/** @type {any[]} */ ...args) =>
    forked((preload) => {
      const execArgv = cluster.settings.execArgv ?? process.execArgv;
      cluster.settings = { ...cluster.settings, execArgv: [...execArgv, '--require', preload] };
      try {
        return Reflect.apply(fork, cluster, args);
      } finally {
        cluster.settings.execArgv = execArgv;
      }
    });
}

module.exports = { beforeDisconnect, interceptFork, onConnectionsGiven, onInspectorOpen };
