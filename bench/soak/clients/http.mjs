// The kinds of HTTP clients: how many of each, what they send, how long they think, what is the right answer.

import { setTimeout as wait } from 'node:timers/promises';
import { HttpClient } from './fleet.mjs';
import payload from '../servers/payload.js';

const { filler, receipt } = payload;

const MEGABYTE = 1 << 20;
/** More than the kernel keeps for a reader that does not come. */
const SLOWLY_READ = 4 * MEGABYTE;
/** How long a slow reader takes for it at the most. */
const SLOW_READ_MS = 2000;
const PIPELINED = 4;
const UPLOAD_PIECES = 6;

function head(method, target, headers = {}) {
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** Writes in one piece, or now and then cut in two at a random place with a pause between. */
async function writeCut(random, write, bytes) {
  if (!random.chance(0.1)) return write(bytes);
  const at = random.whole(1, bytes.length - 1);
  write(bytes.subarray(0, at));
  await wait(random.whole(1, 30));
  write(bytes.subarray(at));
}

const echo = (size, { ms = 0, headers = {}, writing = (write, bytes) => write(bytes) } = {}) => ({
  lasts: ms,
  send: (write, id) => writing(write, Buffer.from(head('GET', `/echo?id=${id}&size=${size}&ms=${ms}`, headers))),
  expected: (id) => filler(id, size),
});

const size = (random) => random.pick([1, 100, 2000, 30_000]);
const quickGet = (random) => echo(size(random));
const closingGet = (random) => echo(size(random), { headers: { Connection: 'close' } });
const get = (random) =>
  echo(size(random), {
    ms: random.chance(0.1) ? random.whole(10, 500) : 0,
    writing: (write, bytes) => writeCut(random, write, bytes),
  });
const megabyte = () => echo(MEGABYTE);
const slowlyRead = () => ({ ...echo(SLOWLY_READ), lasts: SLOW_READ_MS });

const post = (random) => {
  const length = size(random);
  return {
    send: (write, id) => {
      const start = Buffer.from(head('POST', `/echo?id=${id}`, { 'Content-Length': length }));
      return writeCut(random, write, Buffer.concat([start, filler(id, length)]));
    },
    expected: (id) => Buffer.from(receipt(id, filler(id, length))),
  };
};

const upload = (random) => {
  const length = random.whole(UPLOAD_PIECES, 100_000);
  const ms = random.whole(0, 1200);
  return {
    lasts: ms,
    async send(write, id) {
      const body = filler(id, length);
      const step = Math.ceil(length / UPLOAD_PIECES);
      write(head('POST', `/echo?id=${id}`, { 'Transfer-Encoding': 'chunked' }));
      for (let from = 0; from < length; from += step) {
        const piece = body.subarray(from, from + step);
        write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]));
        await wait(ms / UPLOAD_PIECES);
      }
      write('0\r\n\r\n');
    },
    expected: (id) => Buffer.from(receipt(id, filler(id, length))),
  };
};

const download = (random) => {
  const length = random.whole(100, 100_000);
  const ms = random.whole(0, 1200);
  return {
    lasts: ms,
    send: (write, id) => write(head('GET', `/download?id=${id}&size=${length}&ms=${ms}`)),
    expected: (id) => filler(id, length),
  };
};

/** Several requests leave at once; their answers come in order. */
const pipelined = (client) =>
  Promise.all(Array.from({ length: PIPELINED }, () => client.exchange(quickGet(client.random))));

const each = (make) => (client) => client.exchange(make(client.random));

/** Mostly a pause, now and then none. */
const thinking = (most) => (random) => (random.chance(0.2) ? 0 : random.whole(1, most));

const SESSION = { secure: true, sessionMs: (random) => random.whole(100, 1400) };
/** With a download at its end it lasts no longer than the others. */
const SHORT_SESSION = { secure: true, sessionMs: (random) => random.whole(100, 600) };
const NEW_EACH_TIME = { sessionMs: () => 0 };

/** { kind, count, turn, think, options } of each kind; those without `sessionMs` keep their connections. */
const KINDS = [
  { kind: 'keep-alive GET', count: 8, turn: each(get), think: thinking(60) },
  { kind: 'keep-alive POST', count: 6, turn: each(post), think: thinking(60) },
  { kind: 'pipelining', count: 3, turn: pipelined, think: thinking(100) },
  { kind: 'chunked upload', count: 3, turn: each(upload), think: thinking(100) },
  { kind: 'chunked download', count: 3, turn: each(download), think: thinking(100) },
  { kind: '1 MB answers', count: 2, turn: each(megabyte), think: thinking(200) },
  { kind: 'slow readers', count: 2, turn: each(slowlyRead), think: thinking(200), options: { slowly: true } },
  { kind: 'https GET', count: 2, turn: each(get), think: thinking(60), options: SESSION },
  { kind: 'https POST', count: 2, turn: each(post), think: thinking(60), options: SESSION },
  { kind: 'https download', count: 2, turn: each(download), think: thinking(60), options: SHORT_SESSION },
  { kind: 'new connections', count: 4, turn: each(closingGet), think: thinking(60), options: NEW_EACH_TIME },
];

/** Starts them all; resolves when the fleet is over and each has had its last answer. */
export function runHttpClients(fleet) {
  const clients = KINDS.flatMap(({ kind, count, turn, think, options }) =>
    Array.from({ length: count }, () => new HttpClient(fleet, kind, options).run(turn, think)),
  );
  return Promise.all(clients);
}
