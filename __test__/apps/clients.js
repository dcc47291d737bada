'use strict';

// Clients of the tested programs. A client is { ask, close }: `ask` resolves to comparable data.

const { once } = require('node:events');
const http = require('node:http');
const { WebSocket } = require('ws');
const { request } = require('../helpers/http');

/** Headers that depend on the connection or the time. */
const PASSING = ['connection', 'date', 'keep-alive'];

/** The maximum number of attempts: in a roll, each of the two leaving workers may close the client's connection. */
const TRIES = 3;

/** Timeout of one response, in milliseconds. */
const PATIENCE = 15_000;

/** A client over HTTP: `program.ask` receives get(), post() and send(), which resolve to { status, headers, body }. */
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

/** A WebSocket was closed with a code for a server that stops: its clients reconnect and repeat the request. */
class Away extends Error {}

/** The close codes of a server that stops. */
const GOING_AWAY = [1001, 1012];

/** A client over a WebSocket: `converse` receives { send, next } and resolves to the response. */
async function overWebSocket(url, converse, { protocols } = {}) {
  const socket = new WebSocket(url, protocols);
  const [arrived, waiting] = [[], []];
  let end = null;
  socket.on('message', (data) => {
    arrived.push(String(data));
    waiting.shift()?.resolve();
  });
  socket.on('close', (code) => {
    end = GOING_AWAY.includes(code) ? new Away(`${url}: ${code}`) : new Error(`${url} was closed with ${code}`);
    for (const { reject } of waiting.splice(0)) reject(end);
  });
  await once(socket, 'open');
  socket.on('error', () => undefined);
  const send = (message) => {
    if (end !== null) throw end;
    socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  };
  const next = async () => {
    if (arrived.length === 0) {
      if (end !== null) throw end;
      await new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    }
    return arrived.shift();
  };
  const close = async () => {
    if (socket.readyState === WebSocket.CLOSED) return;
    socket.close();
    await once(socket, 'close');
  };
  return { ask: () => converse({ send, next }), close };
}

/** Settles as `promise` does, or rejects after the timeout. */
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

/**
 * A client of this program; it connects at its first request. With `keepAlive` it keeps its HTTP connection.
 * `program.away`: what its clients read when the program itself closes their connections, as a single process must have
 * shown; `onAway` is called then.
 */
function open(program, place, { keepAlive = false, onAway = () => undefined } = {}) {
  const { client, away } = program;
  let opened = null;
  const isAway = (error) => {
    const isPrograms = away?.test(error.message) ?? false;
    if (isPrograms) onAway(error.message);
    return isPrograms || error instanceof Away;
  };
  const close = async () => {
    const last = opened;
    opened = null;
    await last?.close();
  };
  const connect = async () => (client === undefined ? overHttp(program, place, keepAlive) : client(place));
  const ask = async (tries = TRIES) => {
    try {
      opened ??= await inTime(connect(), 'connecting');
      return await inTime(opened.ask(), 'an answer');
    } catch (error) {
      if (!isAway(error) || tries === 1) throw error;
      await close();
      return ask(tries - 1);
    }
  };
  return { ask: () => ask(), close };
}

/** Sends one request with a new client. */
async function askOnce(program, place) {
  const client = open(program, place);
  try {
    return await client.ask();
  } finally {
    await client.close();
  }
}

module.exports = { askOnce, open, overWebSocket };
