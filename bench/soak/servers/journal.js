'use strict';

// What the workers did, in one file that all of them append to: one write(2) a line, so that what a killed
// worker has written stays and lines never mix. SOAK_JOURNAL names the file. Its lines are
//
//   c PID SERVER_PORT CLIENT_PORT TIME    a connection came to this worker, new or from another one
//   r PID ID TIME                         a request began
//   x PID ID TIME                         a POST was executed
//
// TIME is in milliseconds of the machine's monotonic clock, the same in every process.

const diagnostics = require('node:diagnostics_channel');
const fs = require('node:fs');

function now() {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Begins this process's part; returns how it notes a request's beginning and an execution. */
function openJournal() {
  const file = fs.openSync(process.env.SOAK_JOURNAL, 'a');
  const note = (...words) => fs.writeSync(file, `${words.join(' ')} ${now().toFixed(3)}\n`);
  // A listener on the server would be user code that touches its connections, and such ones stay where they are.
  diagnostics.subscribe('net.server.socket', ({ socket }) => {
    note('c', process.pid, socket.localPort, socket.remotePort);
  });
  return {
    began: (id) => note('r', process.pid, id),
    executed: (id) => note('x', process.pid, id),
  };
}

module.exports = { now, openJournal };
