'use strict';

// Loaded before drover in a worker: stores Node's own functions, so that the program can restore them.

const http = require('node:http');
const net = require('node:net');

const kept = [http.ServerResponse.prototype, net.Socket.prototype].map((prototype) => ({
  prototype,
  functions: Object.getOwnPropertyDescriptors(prototype),
}));

/** Functions that were replaced: { prototype, name, own, hook }. */
globalThis[Symbol.for('drover.bench.hooks')] = () =>
  kept.flatMap(({ prototype, functions }) =>
    Object.entries(functions)
      .filter(([name, { value }]) => typeof value === 'function' && prototype[name] !== value)
      .map(([name, { value }]) => ({ prototype, name, own: value, hook: prototype[name] })),
  );
