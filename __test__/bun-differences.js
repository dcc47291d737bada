'use strict';

// What differs under Bun (npm run test:bun), with reasons; the docs have the user's view of it (docs/bun.md).

const NO_PROGRAM = 'starts no program';

/** Test files that start no program, or programs of which drover has no part: they are the same under any runtime. */
const elsewhere = {
  'architecture.test.js': NO_PROGRAM,
  'cluster-of-one.test.js': NO_PROGRAM,
  'codes.test.js': NO_PROGRAM,
  'internals.test.js': 'tries what drover relies on in Node.js',
  'message-bodies.test.js': NO_PROGRAM,
  'options.test.js': NO_PROGRAM,
  'options-reference.test.js': NO_PROGRAM,
  'process-monitor.test.js': NO_PROGRAM,
  'size.test.js': NO_PROGRAM,
  'soak.test.js': NO_PROGRAM,
  'bun.test.js': 'starts Bun by itself',
  'bun-clusters.test.js': 'starts Bun by itself',
  'tickets.test.js': 'Bun has no keys of session tickets yet: `setTicketKeys` throws, and so does the option `ticketKeys`',
};

/** Its handle is no handle of libuv's. */
const NO_HANDLES = 'Bun cannot listen on the handle of another server';

/** Bun's async_hooks tell of the beginning of ticks only. */
const NO_ENDS = 'Bun tells of no end of work: a worker whose program handles the signal has time until its event loop is empty, or up to the deadline';

/** `process.getActiveResourcesInfo` of Bun names nothing. */
const NO_RESOURCES = 'Bun does not tell what keeps its event loop alive: a worker gives it lingerTimeout';

const NO_ADMISSION = 'admission is refused under Bun: drover cannot answer a request there before the program does';

/** @param {string[]} names */
const withAdmission = (names) => Object.fromEntries(names.map((name) => [name, NO_ADMISSION]));

/** Tests that fail under Bun, by file: their reasons by name. */
const differences = {
  'admission.test.js': withAdmission([
    'while every loop is blocked new connections get 503 with Retry-After from the primary, and exempt paths wait',
    'a probe from outside on healthCheck.endpoint is not refused, whatever is exempt: by the primary or a worker',
    'the beginning and the end of an overload are logged, each once, with what was refused',
    'a connection whose request has not come when it would be refused is waited for, and served if the path is exempt',
    'at more than the workers can do some is refused, the rest is in time, and nothing fails',
    'on connections that a worker has, drover answers late requests before the program sees them',
    'streams of HTTP/2 that are late get 503 before the program sees them',
    'while every loop is blocked connections to a TLS server are closed',
    'a worker whose connection was refused before it had read it gets connections again',
    'while all workers are stopped new connections are refused, and served again once they run',
    'in direct mode an overload is served in push mode: new connections are refused and the rest is served',
  ]),
  'admission-live.test.js': withAdmission([
    'off, on, and off again under overload: new connections',
    'off, on, and off again under overload: new connections in direct mode',
    'off, on, and off again under overload: new connections with TLS',
    'off, on, and off again under overload: kept connections',
    'off, on, and off again under overload: kept connections with TLS',
    'off, on, and off again under overload: streams of HTTP/2',
    'another targetDelay applies at once',
    'workers that start later have the new value',
  ]),
  'admission-requests.test.js': withAdmission([
    'a pipelined request is refused in its turn: after the response to the request before it',
    'the handshake of a WebSocket is refused, and not if its path is exempt',
    'the handshake of a WebSocket is refused after the response to the request before it',
    'a client that is refused while it sends its body reads the whole response, though the connection ends',
    'who waits for 100 Continue is refused without it',
    'requests of HTTP/1.0 are refused, and their connections end',
    'requests on TLS connections that a worker has are refused with a response',
    'health checks are not refused: http',
    'health checks are not refused: http2',
  ]),
  'memory-leaks.test.js': {
    'a worker that leaks 20 MB a second is reported within ten samples, with file and line': 'it is reported by its resident memory; Bun has no sampling heap profiler',
  },
  'memory-manager.test.js': {
    'the heap of the workers of this process’s clusters is known in every process of it': "the program calls `gc` by an option of V8's, and Bun tells no floor of its heap",
  },
  'child-process.test.js': {
    "fork: disconnect: connected is false at once, 'disconnect' comes once, and the channel is closed":
      'without drover: Bun keeps `process.channel` after `process.disconnect()`',
  },
  'drain-order.test.js': {
    'after the code that waited for a signal is done, an interval delays the end only by the linger time': NO_ENDS,
    "work that never ends delays the exit by the linger time and is logged; 'beforeExit' is emitted and its work done": NO_ENDS,
    'a stop by a signal that the program does not handle does not wait for an interval from before the first connection': NO_RESOURCES,
    'a stop by a signal that the program does not handle does not wait for a connection to a server of others from before the first connection':
      NO_RESOURCES,
    "a server that the program does not close is closed before the exit: 'close' is emitted, and work begun by its listeners is completed":
      'Bun tells of no work: a worker of a program that handles no signal ends when it has answered, if it has been idle for lingerTimeout',
  },
  'listen-options.test.js': {
    "one process: a server may listen on another's handle, and on a socket of the process's own": NO_HANDLES,
    "drover: a server may listen on another's handle, and on a socket of the process's own": NO_HANDLES,
    "one process: a descriptor that is no socket is Node's own error": "Bun's text of the error has the address",
    "drover: a descriptor that is no socket is Node's own error": "Bun's text of the error has the address",
    'app.listen in one process takes a path with its permissions': 'without a cluster: Bun ignores readableAll and writableAll',
    'app.listen in one process takes ipv6Only': 'without a cluster: Bun ignores ipv6Only',
  },
  'listen.test.js': {
    'a server whose share cannot be served emits the error instead of listening, and may listen again':
      'drover polls nothing in a worker under Bun, which cannot fail then',
  },
  'moving.test.js': {
    'an idle connection that was handed off is closed without a response after its keep-alive time':
      'Bun answers 408 to a connection that is silent for headersTimeout, wherever it comes from',
  },
  'inner-cluster.test.js': Object.fromEntries(
    [
      'a roll of a program that uses node:cluster loses no request and leaves no process',
      'a program that uses node:cluster gets one warning, and its processes get unchanged arguments',
      'a process of the program’s own that exits is replaced by the program as usual',
      "Nitro's preset node-cluster is rolled and stopped without a loss",
    ].map((name) => [name, 'HTTP servers in processes of Bun’s node:cluster listen themselves, with SO_REUSEPORT, and not in the worker']),
  ),
  'last-response.test.js': {
    'a short last response and the end of its connection are one segment': 'Bun ends a connection itself, with a segment of its own',
  },
  'typescript.test.js': {
    'a primary that ts-node runs has workers that it runs too': 'ts-node hooks the module loader of Node.js; Bun runs TypeScript itself',
    'a command line that runs the program in its own process is a worker: ts-node': 'ts-node hooks the module loader of Node.js; Bun runs TypeScript itself',
  },
  'launch.test.js': Object.fromEntries(
    ['by NODE_OPTIONS', 'by an argument and a port in NODE_OPTIONS', 'by an argument and its value apart', 'by an address in brackets'].map((how) => [
      `an inspector ${how} has a port of its own in each process`,
      'Bun has an inspector of its own, which reads no NODE_OPTIONS and is not that of node:inspector',
    ]),
  ),
  'datagram.test.js': {
    'errors of bind have Node’s shape, and the socket can be bound again: one process': 'without drover: the errors of Bun’s own bind',
  },
  'hung.test.js': {
    'a worker whose inspector is opened later is not replaced either': 'Bun opens no inspector on SIGUSR1: the signal ends the process',
    'repeated stack requests do not disturb a worker, and run none of its code': 'Bun tells no stack of a loop that is interrupted',
  },
};

module.exports = { differences, elsewhere };
