'use strict';

// How a program is asked. A client is { ask, close }: `ask` resolves to data that can be compared.

const http = require('node:http');
const { request } = require('../helpers/http');

/** Headers that tell of a connection or of the time, not of the answer. */
const PASSING = ['connection', 'date', 'keep-alive'];

/** Milliseconds that one answer may take. */
const PATIENCE = 15_000;

/** A client over HTTP: `program.ask` gets get(), post() and send(), which resolve to { status, headers, body }. */
function overHttp({ ask, socket = false, varies = [] }, place, keepAlive) {
  const agent = keepAlive ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false;
  const address = socket ? place.socketPath : place.port;
  const send = async (path, options) => {
    const { status, headers, body } = await request(address, { path, agent, ...options });
    for (const name of [...PASSING, ...varies]) delete headers[name];
    return { status, headers, body };
  };
  const post = (path, value, headers) =>
    send(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: typeof value === 'string' ? value : JSON.stringify(value),
    });
  const tools = { ...place, get: (path, headers) => send(path, { headers }), post, send };
  return { ask: () => ask(tools), close: () => agent && agent.destroy() };
}

/** Resolves as `promise` does, or rejects when it takes too long. */
async function inTime(promise, what) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${PATIENCE} ms`)), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Opens a client of this program. With `keepAlive` it asks over one connection as long as that lives. */
async function open(program, place, { keepAlive = false } = {}) {
  const { client } = program;
  const opened = client === undefined ? overHttp(program, place, keepAlive) : await inTime(client(place), 'connecting');
  return { ask: () => inTime(opened.ask(), 'an answer'), close: opened.close };
}

/** One question by a client of its own. */
async function askOnce(program, place) {
  const client = await open(program, place);
  try {
    return await client.ask();
  } finally {
    await client.close();
  }
}

module.exports = { askOnce, open };
