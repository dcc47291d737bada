'use strict';

// Minimal clients for the tests. An address is a port on 127.0.0.1 or the path of a unix socket. Certificates are not
// verified: the tests create their own.

const { once } = require('node:events');
const dgram = require('node:dgram');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const net = require('node:net');

/** Milliseconds without data after which a connection counts as hung. */
const SILENCE = 60_000;

const place = (address) =>
  typeof address === 'string' ? { socketPath: address } : { host: '127.0.0.1', port: address };

const connectTo = (address) => (typeof address === 'string' ? { path: address } : { host: '127.0.0.1', port: address });

async function text(stream) {
  let body = '';
  for await (const piece of stream.setEncoding('utf8')) body += piece;
  return body;
}

/**
 * Sends one request, on a separate connection unless `agent` is given. Resolves to { status, headers, body, json() }.
 */
async function request(address, { path = '/', method = 'GET', headers, body, secure = false, agent = false } = {}) {
  const library = secure ? https : http;
  const options = { ...place(address), path, method, headers, agent, timeout: SILENCE, rejectUnauthorized: false };
  const outgoing = library.request(options);
  outgoing.once('timeout', () => outgoing.destroy(new Error(`${method} ${path}: silent for ${SILENCE} ms`)));
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  const answer = await text(response);
  return { status: response.statusCode, headers: response.headers, body: answer, json: () => JSON.parse(answer) };
}

/** A client that keeps one connection alive: request(options), close(). */
function keepAlive(address, { secure = false } = {}) {
  const Agent = secure ? https.Agent : http.Agent;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    request: (options) => request(address, { ...options, secure, agent }),
    close: () => agent.destroy(),
  };
}

/** Sends one HTTP/2 request on a separate session. */
async function h2(address, { secure = false, path = '/' } = {}) {
  const origin = `${secure ? 'https' : 'http'}://127.0.0.1:${address}`;
  const session = http2.connect(origin, { rejectUnauthorized: false });
  try {
    const stream = session.request({ ':path': path });
    stream.setTimeout(SILENCE, () => stream.destroy(new Error(`HTTP/2: silent for ${SILENCE} ms`)));
    const [headers] = await once(stream, 'response');
    const body = await text(stream);
    return { status: headers[':status'], headers, body, json: () => JSON.parse(body) };
  } finally {
    session.destroy();
  }
}

/** A TCP connection that reads lines: line() resolves to the next one. */
async function tcp(address) {
  const socket = net.connect(connectTo(address));
  await once(socket, 'connect');
  socket.setTimeout(SILENCE, () => socket.destroy(new Error(`TCP: silent for ${SILENCE} ms`)));
  let rest = '';
  async function line() {
    while (!rest.includes('\n')) {
      const [piece] = await once(socket, 'data');
      rest += piece;
    }
    const end = rest.indexOf('\n');
    const next = rest.slice(0, end);
    rest = rest.slice(end + 1);
    return next;
  }
  return { socket, line, write: (data) => socket.write(data), close: () => socket.destroy() };
}

/** Sends one datagram; resolves to the reply. */
async function datagram(port, message = 'hello') {
  const socket = dgram.createSocket('udp4');
  try {
    socket.send(message, port, '127.0.0.1');
    const [answer] = await once(socket, 'message', { signal: AbortSignal.timeout(SILENCE) });
    return answer.toString();
  } finally {
    socket.close();
  }
}

/** A WebSocket that reads messages: message() resolves to the next one. */
async function websocket(port) {
  const { WebSocket } = require('ws');
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { handshakeTimeout: SILENCE });
  const waiting = [];
  const arrived = [];
  socket.on('message', (data) => (waiting.shift() ?? ((message) => arrived.push(message)))(String(data)));
  await once(socket, 'open');
  return {
    socket,
    message: () =>
      arrived.length > 0 ? Promise.resolve(arrived.shift()) : new Promise((resolve) => waiting.push(resolve)),
    send: (data) => socket.send(data),
    close: () => socket.terminate(),
  };
}

/** Resolves to a server that listens at the address, or null if the address is in use. */
const listening = (...place) =>
  new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(null)).listen(...place, () => resolve(server));
  });

/**
 * Resolves to a free port that no other test gets while this process runs: the port is below the kernel's ephemeral
 * range, and each caller claims its number with an abstract unix socket.
 */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    const claim = await listening(`\0drover-test-port-${port}`);
    if (claim === null) continue;
    claim.unref();
    const server = await listening(port, '127.0.0.1');
    if (server === null) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

module.exports = { datagram, freePort, h2, keepAlive, request, tcp, websocket };
