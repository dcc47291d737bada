// @ts-check
'use strict';

// The time, asked once in a turn: asking costs more than reading a value.

// What a test replaces (fake timers) does not change how long values live.
const { now } = Date;
const afterThis = queueMicrotask;

let current = 0;

function forget() {
  current = 0;
}

/** Milliseconds since 1970, at the beginning of the turn or later. */
function turnTime() {
  if (current === 0) {
    current = now();
    afterThis(forget);
  }
  return current;
}

module.exports = { turnTime };
