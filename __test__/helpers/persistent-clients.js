'use strict';

// Clients that never reconnect: each sends requests of several kinds on one TCP connection and checks every response,
// to detect what a moved connection loses or duplicates.

const { createHash } = require('node:crypto');
const { setTimeout: wait } = require('node:timers/promises');
const { open } = require('./connection');

/** A function that returns pseudorandom integers from 0 to `most` - 1; deterministic for a seed (mulberry32). */
function dice(seed) {
  let state = seed >>> 0;
  return (most) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % most;
  };
}

const digest = (data) => createHash('sha1').update(data).digest('hex');

/** The request listener that these clients expect; self-contained, because programs include its source. */
function answering() {
  const crypto = require('node:crypto');
  return (request, response) => {
    const hash = crypto.createHash('sha1');
    request.on('data', (piece) => hash.update(piece));
    request.on('end', () => {
      const said = JSON.stringify({ pid: process.pid, url: request.url, hash: hash.digest('hex') });
      const body = request.url.includes('big') ? said.padEnd(300_000) : said;
      const end = () => response.end(body);
      if (request.url.includes('slow')) setTimeout(end, 3);
      else if (request.url.includes('chunks')) {
        response.write(body.slice(0, 10));
        setImmediate(() => response.end(body.slice(10)));
      } else end();
    });
  };
}

/**
 * Sends requests until `signal` aborts. Resolves to { answered, workers } with the pids that answered; rejects at the
 * first response that is missing, wrong or has `Connection: close`. `pipelines: false`: no request is sent before the last one
 * is answered.
 */
async function ask(port, seed, signal, { pipelines = true } = {}) {
  const random = dice(seed);
  const { socket, reader } = await open(port);
  const workers = new Set();
  let answered = 0;
  try {
    while (!signal.aborted) {
      const shape = random(8);
      const body = Buffer.alloc(random(2) * random(3000), 65 + (seed % 26));
      const urls = Array.from({ length: shape === 0 && pipelines ? 3 : 1 }, () => {
        answered += 1;
        return `/${seed}/${answered}${['', '-slow', '-chunks', '-big'][random(4)]}`;
      });
      const bytes = Buffer.concat(
        urls.flatMap((url) => [
          Buffer.from(`POST ${url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`),
          body,
        ]),
      );
      if (shape === 1 || shape === 2) {
        const cut = 1 + random(Math.min(bytes.length - 1, 60));
        socket.write(bytes.subarray(0, cut));
        await wait(random(6));
        socket.write(bytes.subarray(cut));
      } else socket.write(bytes);
      for (const url of urls) {
        const { status, headers, body: text } = await reader.response();
        const said = JSON.parse(text);
        const right = status === 200 && said.url === url && said.hash === digest(body);
        if (!right) throw new Error(`${url}: ${status} ${text.subarray(0, 100)}`);
        if (headers.connection === 'close') throw new Error(`${url}: Connection: close`);
        workers.add(said.pid);
      }
      const pause = random(4);
      if (pause === 0) await wait(random(8));
    }
    return { answered, workers };
  } catch (error) {
    throw new Error(`client ${seed} after ${answered} requests: ${error.message}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

module.exports = { answering, ask };
