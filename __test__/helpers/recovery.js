'use strict';

// Clients of Socket.IO with connection state recovery, through rolls and kills of the workers.

const path = require('node:path');
const { io } = require('socket.io-client');
const { run } = require('./run');

const fixture = path.join(__dirname, '..', 'fixtures', 'recovering.js');

/** What one client has seen. */
class Client {
  constructor(port, id) {
    this.id = id;
    this.connections = 0;
    this.recovered = 0;
    this.lost = 0;
    /** `emitter number` of every tick, in order. */
    this.ticks = [];
    this.rooms = 0;
    this.wrong = 0;
    this.ended = new Promise((resolve) => (this.end = resolve));
    this.socket = io(`http://127.0.0.1:${port}`, {
      transports: ['websocket'],
      auth: { id },
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 500,
    });
    this.socket
      .on('connect', () => {
        this.connections += 1;
        if (this.connections === 1) return;
        if (this.socket.recovered) this.recovered += 1;
        else this.lost += 1;
      })
      .on('welcome', (recovered, own, rooms) => {
        if (own !== id || rooms !== 3) this.wrong += 1;
      })
      .on('tick', (emitter, number) => this.ticks.push(`${emitter} ${number}`))
      .on('room', (room) => {
        this.rooms += 1;
        if (room !== id % 10) this.wrong += 1;
      })
      .on('end', () => this.end());
  }
}

/**
 * Runs `clients` clients through `rolls` and `kills`; resolves to what they have seen: `lost_sessions`, `missing` and
 * `doubled` ticks, `disordered` clients, and `wrong` rooms or data.
 */
async function recovered(t, { clients, rolls, kills, workers = 2, interval = 20, patience = 60_000 }) {
  const env = { CLIENTS: String(clients), ROLLS: String(rolls), KILLS: String(kills), WORKERS: String(workers), INTERVAL: String(interval) };
  const program = run(t, fixture, { env });
  const [, port] = await program.until(/^LISTENING (\d+)$/m);
  const all = Array.from({ length: clients }, (_, id) => new Client(port, id));
  t.after(() => all.forEach(({ socket }) => socket.close()));
  await program.until(/^STOPPED$/m, patience);
  while (!all.every(({ socket }) => socket.connected)) await new Promise((resolve) => setTimeout(resolve, 10));
  process.kill(program.pid, 'SIGUSR1');
  await Promise.all(all.map(({ ended }) => ended));
  // Every client was there before the first tick: all have seen the same, in the same order.
  const [longest] = all.map(({ ticks }) => ticks).sort((one, other) => other.length - one.length);
  const known = new Set(longest);
  const sum = (of) => all.reduce((total, client) => total + of(client), 0);
  return {
    clients,
    rolls,
    kills,
    ticks: known.size,
    reconnections: sum(({ connections }) => connections - 1),
    recovered: sum((client) => client.recovered),
    lost_sessions: sum(({ lost }) => lost),
    missing: sum(({ ticks }) => known.size - new Set(ticks).size),
    doubled: sum(({ ticks }) => ticks.length - new Set(ticks).size),
    disordered: sum(({ ticks }) => (ticks.every((tick, at) => tick === longest[at]) ? 0 : 1)),
    gaps: gapsIn(longest),
    wrong: sum(({ wrong }) => wrong),
  };
}

/** Ticks that no client has seen, though a later one of the same worker. */
function gapsIn(ticks) {
  const last = new Map();
  let gaps = 0;
  for (const tick of ticks) {
    const [emitter, number] = tick.split(' ');
    gaps += Math.abs(Number(number) - (last.get(emitter) ?? 0) - 1);
    last.set(emitter, Number(number));
  }
  return gaps;
}

module.exports = { recovered };
