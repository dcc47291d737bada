'use strict';

// What differs under Bun (npm run test:bun), with reasons; the docs have the user's view of it (docs/bun.md).

/** Test files that start no program, or programs of which drover has no part: they are the same under any runtime. */
const elsewhere = {
  'bun.test.js': 'starts Bun by itself',
  'bun-clusters.test.js': 'starts Bun by itself',
};

/** Tests that fail under Bun, by file: their reasons by name. */
const differences = {
  'last-response.test.js': {
    'a short last response and the end of its connection are one segment': 'Bun ends a connection itself, with a segment of its own',
  },
  'launch.test.js': Object.fromEntries(
    ['by NODE_OPTIONS', 'by an argument and a port in NODE_OPTIONS', 'by an argument and its value apart', 'by an address in brackets'].map((how) => [
      `an inspector ${how} has a port of its own in each process`,
      'Bun has an inspector of its own, which reads no NODE_OPTIONS and is not that of node:inspector',
    ]),
  ),
  'hung.test.js': {
    'a regular expression that backtracks is named by file and line, and its worker replaced while the other one serves':
      'JavaScriptCore gives up on such an expression: the worker does not hang',
    'a worker whose inspector is opened later is not replaced either': 'Bun opens no inspector on SIGUSR1: the signal ends the process',
    'repeated stack requests do not disturb a worker, and run none of its code': 'Bun tells no stack of a loop that is interrupted',
  },
};

module.exports = { differences, elsewhere };
