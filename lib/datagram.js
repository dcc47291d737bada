// @ts-check
'use strict';

// A datagram socket that a worker binds is the primary's, shared by all workers: the kernel gives each
// datagram to one of them.

const dgram = require('node:dgram');
const dns = require('node:dns');
const { addon } = require('./native');
const { systemError } = require('./errors');

/**
 * The forms of `bind`: (port, address, callback), (options, callback), each part optional.
 *
 * @param {any[]} args
 */
function parse(args) {
  const last = args.at(-1);
  const callback = typeof last === 'function' ? last : undefined;
  const [first, second] = args;
  if (first !== null && typeof first === 'object') return { ...first, callback };
  const port = typeof first === 'function' ? undefined : first;
  return { port, address: typeof second === 'string' ? second : undefined, callback };
}

/** @param {import('./worker').Worker} worker */
function share(worker) {
  const { bind } = dgram.Socket.prototype;
  /** @type {Map<string, number>} */
  const bound = new Map();

  /** @this {any} */
  dgram.Socket.prototype.bind = function bindWithPrimary(/** @type {any[]} */ ...args) {
    const options = parse(args);
    if (options.exclusive || options.fd !== undefined) return Reflect.apply(bind, this, args);
    const ipv6 = this.type === 'udp6';
    const port = Number(options.port ?? 0);
    const own = this;
    // While the name is looked up the socket is binding: Node refuses a second bind and holds back sends.
    dns.lookup(options.address || (ipv6 ? '::' : '0.0.0.0'), { family: ipv6 ? 6 : 4 }, (failure, host) => {
      if (failure) {
        own.emit('error', failure);
        return;
      }
      const key = `${host} ${port}`;
      const nth = bound.get(key) ?? 0;
      if (port === 0) bound.set(key, nth + 1);
      const answer = worker.listen({ kind: 'udp', host, port, ipv6, ipv6_only: false, reuse: false, nth }, 0);
      if (answer.errno !== undefined) {
        own.emit('error', systemError(answer.errno, 'bind', host, port));
        return;
      }
      Reflect.apply(bind, own, [{ fd: answer.fd, exclusive: true }, options.callback].filter(Boolean));
      // A program of datagrams alone listens too.
      if (worker.welcome.ready === 'listen') addon.workerReady();
    });
    return this;
  };
}

module.exports = { share };
