// @ts-check
'use strict';

// What a hung worker was doing: drover's Rust side lists the JavaScript that hangs when the primary asks for it.

const { addon } = require('../../native');

/** The primary judges whether this worker hangs: it may ask what it does, and must know of a debugger. */
function answerForHangs() {
  addon.workerTrace();
  // Node's own word to node:cluster: the inspector is open, however that came about.
  process.on('internalMessage', (/** @type {any} */ message) => {
    if (message?.cmd === 'NODE_DEBUG_ENABLED') addon.workerInspected();
  });
}

exports.answerForHangs = answerForHangs;
