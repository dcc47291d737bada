'use strict';

// The program that every contender of the soak serves: plain HTTP, HTTPS and WebSockets on three ports, in the
// same process. It knows nothing of what stands before it. Every answer names its worker in X-Worker-PID.
//
//   GET  /                              the worker's process id (what the load generator asks)
//   GET  /echo?id=&size=&ms=            `size` bytes made from the id, after `ms`
//   GET  /download?id=&size=&ms=        the same, chunked, spread over `ms`
//   POST /echo?id=                      a receipt of the body
//   GET  /busy?ms=                      answers, then blocks the event loop for so long
//   WebSocket                           echoes every message (`ID:...`)

const http = require('node:http');
const https = require('node:https');
const { buffer } = require('node:stream/consumers');
const { setTimeout: wait } = require('node:timers/promises');
const { WebSocketServer } = require('ws');
const { openJournal } = require('./journal');
const { filler, receipt } = require('./payload');

const MAX_ANSWER_MS = 2000;
const LARGEST_ANSWER = 8 << 20;
const MAX_BLOCK_MS = 15_000;
const PIECES = 8;

function block(milliseconds) {
  const end = performance.now() + Math.min(milliseconds, MAX_BLOCK_MS);
  while (performance.now() < end);
}

async function download(response, body, milliseconds) {
  const size = Math.ceil(body.length / PIECES);
  for (let from = 0; from < body.length; from += size) {
    response.write(body.subarray(from, from + size));
    await wait(milliseconds / PIECES);
  }
  response.end();
}

/** The servers { http, https, websockets }, not yet listening; `tls` has key and cert. */
function program(tls) {
  const journal = openJournal();

  async function answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    const id = searchParams.get('id');
    const ms = Number(searchParams.get('ms') ?? 0);
    response.setHeader('X-Worker-PID', process.pid);
    if (pathname === '/') return response.end(String(process.pid));
    if (pathname === '/busy') return response.end(String(process.pid), () => setImmediate(block, ms));
    journal.began(id);
    if (request.method === 'POST') {
      const body = await buffer(request);
      journal.executed(id);
      return response.end(receipt(id, body));
    }
    const body = filler(id, Math.min(Number(searchParams.get('size')), LARGEST_ANSWER));
    const milliseconds = Math.min(ms, MAX_ANSWER_MS);
    if (pathname === '/download') return download(response, body, milliseconds);
    if (milliseconds > 0) await wait(milliseconds);
    response.end(body);
  }

  // A client that goes away in the middle of its body ends that request alone.
  const listener = (request, response) => answer(request, response).catch(() => response.destroy());
  const behindWebsockets = http.createServer((request, response) => response.writeHead(426).end());
  new WebSocketServer({ server: behindWebsockets }).on('connection', (socket) => {
    socket.on('message', (data) => {
      const message = String(data);
      journal.began(message.slice(0, message.indexOf(':')));
      socket.send(message);
    });
    // The other end sees it too, and that is where it counts.
    socket.on('error', () => socket.terminate());
  });
  return {
    http: http.createServer(listener),
    https: https.createServer(tls, listener),
    websockets: behindWebsockets,
  };
}

module.exports = { program };
