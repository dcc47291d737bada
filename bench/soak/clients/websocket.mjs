// WebSocket clients: a session of echoes, one message after the other, closed by the client within 2 s. A message
// that gets no echo because the server closed is a failed request, whatever the close code says: nobody had told
// the client before.

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Lost } from './connection.mjs';
import payload from '../servers/payload.js';
import journal from '../servers/journal.js';

const { now } = journal;
const { filler } = payload;

const KIND = 'WebSocket echo';
const COUNT = 4;
const AGAIN_MS = 20;
/** For the server's half of the closing handshake. */
const CLOSE_MS = 10_000;

/** A promise of the next event of these; rejects with Lost when the socket ends before. */
function next(socket, event) {
  return new Promise((resolve, reject) => {
    const settle = (act) => (value) => {
      socket.off(event, came).off('close', ended).off('error', failed);
      act(value);
    };
    const came = settle(resolve);
    const ended = settle((code) => reject(new Lost(`closed (${code})`)));
    const failed = settle(({ code, message }) => reject(new Lost(code ?? message)));
    socket.once(event, came).once('close', ended).once('error', failed);
  });
}

async function session(fleet, client) {
  const { random } = client;
  const opened = now();
  const place = { serverPort: fleet.ports.websockets, clientPort: null, opened };
  const createConnection = (where) => {
    const connection = net.connect(where);
    return connection.once('connect', () => (place.clientPort = connection.localPort));
  };
  const url = `ws://127.0.0.1:${fleet.ports.websockets}`;
  const socket = new WebSocket(url, { perMessageDeflate: false, createConnection });
  // Errors are heard by whoever waits; without anybody the close that follows says it.
  socket.on('error', () => undefined);
  const drop = () => socket.terminate();
  const judge = (exchange) => fleet.judge(client.nextId(), { kind: KIND, place, drop }, exchange);

  const isOpen = await judge(async () => {
    await next(socket, 'open');
    return { isRight: true };
  });
  if (!isOpen) return wait(AGAIN_MS);
  const until = now() + random.whole(200, 1500);
  while (now() < until && !fleet.isOver && socket.readyState === WebSocket.OPEN) {
    const id = client.nextId();
    const message = `${id}:${filler(id, random.pick([1, 100, 30_000]))}`;
    await fleet.judge(id, { kind: KIND, place, drop }, async () => {
      const echo = next(socket, 'message');
      socket.send(message);
      return { isRight: String(await echo) === message };
    });
    await wait(random.whole(0, 40));
  }
  if (socket.readyState === WebSocket.CLOSED) return undefined;
  const timer = setTimeout(drop, CLOSE_MS);
  const closed = once(socket, 'close');
  socket.close();
  await closed;
  clearTimeout(timer);
}

export function runWebsocketClients(fleet) {
  const clients = Array.from({ length: COUNT }, async () => {
    const client = fleet.client(KIND);
    while (!fleet.isOver) await session(fleet, client);
  });
  return Promise.all(clients);
}
