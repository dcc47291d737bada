// @ts-check
'use strict';

// What a hung worker was doing: drover's Rust side calls `frames` in the midst of the JavaScript that hangs, when
// the primary asks. V8 compiles code for it in the belief that nothing is written there meanwhile, so that nothing
// lasting may be: a property is set and set back, and none is added or taken away.

const { addon } = require('../../native');

const { captureStackTrace } = Error;

/** More frames than V8's ten, for what hangs deep in somebody's library. */
const MOST_FRAMES = 50;

/** Where intrinsics are frozen the limit stays as it is. @param {number} limit */
const setLimit = (limit) => Reflect.set(Error, 'stackTraceLimit', limit);

/** The frames that run now, a line each, without this one. */
function frames() {
  const { stackTraceLimit: limit } = Error;
  /** @type {{ stack: any }} */
  const holder = { stack: '' };
  try {
    if (typeof limit === 'number') setLimit(MOST_FRAMES);
    captureStackTrace(holder, frames);
    const { stack } = holder;
    if (typeof stack === 'string') return stack.slice(stack.indexOf('\n') + 1);
    // The program has a prepareStackTrace that makes a list of call sites of it.
    return Array.isArray(stack) ? stack.map((site) => `    at ${site}`).join('\n') : '';
  } finally {
    if (typeof limit === 'number') setLimit(limit);
  }
}

/** The primary judges whether this worker hangs: it may ask what it does, and must know of a debugger. */
function answerForHangs() {
  // Once before anybody relies on its value never changing.
  frames();
  addon.workerTrace(frames);
  // Node's own word to node:cluster: the inspector is open, however that came about.
  process.on('internalMessage', (/** @type {any} */ message) => {
    if (message?.cmd === 'NODE_DEBUG_ENABLED') addon.workerInspected();
  });
}

exports.answerForHangs = answerForHangs;
