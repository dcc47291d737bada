'use strict';

// A client's connection that is never reopened: the client writes and parses HTTP/1.1 on the socket.

const { once } = require('node:events');
const net = require('node:net');
const tls = require('node:tls');

/** Milliseconds without a byte after which a connection counts as hung. */
const SILENCE = 10_000;

/** Reads HTTP/1.1 responses from a socket. */
class Reader {
  constructor(socket) {
    this.buffer = Buffer.alloc(0);
    this.wake = () => {};
    this.failure = null;
    socket.on('data', (piece) => {
      this.buffer = Buffer.concat([this.buffer, piece]);
      this.wake();
    });
    const fail = (why) => {
      this.failure ??= why;
      this.wake();
    };
    socket.once('error', (error) => fail(error.message));
    socket.once('close', () => fail('closed'));
    socket.setTimeout(SILENCE, () => socket.destroy(new Error('hung')));
  }

  async more() {
    if (this.failure) throw new Error(this.failure);
    await new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  async upTo(mark) {
    for (;;) {
      const at = this.buffer.indexOf(mark);
      if (at >= 0) return this.take(at + mark.length).subarray(0, at);
      await this.more();
    }
  }

  take(count) {
    const taken = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(count);
    return taken;
  }

  async exactly(count) {
    while (this.buffer.length < count) await this.more();
    return this.take(count);
  }

  async body(headers) {
    if (headers['content-length'] !== undefined) return this.exactly(Number(headers['content-length']));
    const pieces = [];
    for (;;) {
      const size = parseInt((await this.upTo('\r\n')).toString(), 16);
      pieces.push(await this.exactly(size));
      await this.upTo('\r\n');
      if (size === 0) return Buffer.concat(pieces);
    }
  }

  /** Resolves to the next response: { status, headers, body, json() }. */
  async response() {
    const [first, ...lines] = (await this.upTo('\r\n\r\n')).toString().split('\r\n');
    const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(': ', 2)));
    const body = await this.body(headers);
    return { status: Number(first.split(' ')[1]), headers, body, json: () => JSON.parse(body) };
  }
}

/** `closed` resolves to the error that ended the connection, or to undefined. */
class Connection {
  constructor(socket) {
    this.socket = socket;
    this.reader = new Reader(socket);
    let failure;
    socket.once('error', (error) => {
      failure = error;
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve(failure));
    });
  }

  /** Bytes read that belong to no response yet. */
  get unread() {
    return this.reader.buffer.toString('latin1');
  }

  write(text) {
    this.socket.write(text);
  }

  close() {
    this.socket.destroy();
  }

  /** The next response. */
  response() {
    return this.reader.response();
  }

  get(path = '/') {
    this.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    return this.response();
  }

  post(body, path = '/') {
    this.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return this.response();
  }
}

/** Opens a connection. Options: secure (TLS with HTTP/1.1). */
async function open(port, { secure = false } = {}) {
  const place = { host: '127.0.0.1', port, noDelay: true };
  const socket = secure
    ? tls.connect({ ...place, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    : net.connect(place);
  const connection = new Connection(socket);
  await once(socket, secure ? 'secureConnect' : 'connect');
  return connection;
}

/** As `open`; the connection is closed when the test `t` ends. */
async function connect(t, port, options) {
  const connection = await open(port, options);
  t.after(() => connection.close());
  return connection;
}

module.exports = { connect, open };
