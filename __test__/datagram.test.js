'use strict';

// Datagram sockets: every option and moment of their lives as in one process, whoever else shares them.

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { datagram, freePort, request } = require('./helpers/http');
const { nodeWith } = require('./helpers/nodes');
const { noNetworks, ownNetwork, program, withDescriptors } = require('./helpers/program');
const { runAs, runners } = require('./helpers/runners');
const { findStrace } = require('./helpers/strace');

/** Milliseconds in which what nothing tells of has happened. */
const PATIENCE = 60_000;

/** What the program of `main` says is the same under every runner, but for those that do not keep the promise. */
function everywhere(promise, main, says, { except = [], skip, runtime, ...options } = {}) {
  for (const runner of runners.filter((name) => !except.includes(name))) {
    test(`${promise}: ${runner}`, { skip }, async (t) => {
      const port = await freePort();
      const ran = runAs(t, runner, main, { ...options, ...(await runtime?.()), given: { ...options.given, port } });
      const [, said] = await ran.until(/SAYS (.*)/);
      assert.deepEqual(JSON.parse(said), typeof says === 'function' ? says(port) : says);
    });
  }
}

everywhere(
  'a client that binds and sends at once sends',
  ({ port }) => {
    const dgram = require('node:dgram');
    const server = dgram.createSocket('udp4').bind(port, '127.0.0.1', () => {
      const client = dgram.createSocket('udp4');
      client.bind();
      client.send('hello', port, '127.0.0.1');
    });
    server.on('message', (message) => console.log(`SAYS "${message}"`));
  },
  'hello',
);

everywhere(
  'a server that binds and sends at once sends from its port',
  ({ port }) => {
    const dgram = require('node:dgram');
    const client = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => {
      const server = dgram.createSocket('udp4');
      server.bind(port, '127.0.0.1');
      server.send('hello', client.address().port, '127.0.0.1');
    });
    client.on('message', (_, from) => console.log(`SAYS ${from.port}`));
  },
  (port) => port,
);

everywhere(
  'close right after bind closes, and the port is free',
  ({ port }) => {
    const dgram = require('node:dgram');
    const events = [];
    const socket = dgram.createSocket('udp4').on('listening', () => events.push('listening'));
    socket.bind(port, '127.0.0.1');
    socket.close(() => {
      events.push('closed');
      const next = dgram.createSocket('udp4').on('error', ({ code }) => console.log(`SAYS "${code}"`));
      next.bind({ port, address: '127.0.0.1', exclusive: true }, () => console.log(`SAYS ${JSON.stringify(events)}`));
    });
  },
  ['closed'],
);

everywhere(
  'a closed socket has left its port when it says so',
  ({ port }) => {
    const dgram = require('node:dgram');
    const socket = dgram.createSocket('udp4');
    socket.bind(port, '127.0.0.1', () => {
      socket.close(() => {
        const next = dgram.createSocket('udp4').on('error', ({ code }) => console.log(`SAYS "${code}"`));
        next.bind({ port, address: '127.0.0.1', exclusive: true }, () => console.log('SAYS "free"'));
      });
    });
  },
  'free',
  // There the primary hears of it later.
  { except: ['node:cluster'] },
);

everywhere(
  'a second bind throws at once and changes nothing',
  ({ port }) => {
    const socket = require('node:dgram').createSocket('udp4');
    const codes = [];
    const again = (options) => {
      try {
        socket.bind(options);
      } catch ({ code }) {
        codes.push(code);
      }
    };
    socket.bind(port, '127.0.0.1', () => {
      again(port);
      console.log(`SAYS ${JSON.stringify([...codes, socket.address().port])}`);
    });
    again(port);
    again({ port: 0, exclusive: true });
  },
  (port) => ['ERR_SOCKET_ALREADY_BOUND', 'ERR_SOCKET_ALREADY_BOUND', 'ERR_SOCKET_ALREADY_BOUND', port],
);

everywhere(
  'the program’s own lookup is asked once, and a socket that is closed meanwhile is never bound',
  ({ port }) => {
    const dgram = require('node:dgram');
    const asked = [];
    let proceed;
    const lookup = (host, family, callback) => {
      asked.push([host, family]);
      proceed = () => callback(null, '127.0.0.1', 4);
    };
    const socket = dgram.createSocket({ type: 'udp4', lookup });
    socket.on('listening', () => asked.push('listening')).on('error', ({ code }) => asked.push(code));
    socket.bind(port, 'a.name');
    socket.close(() => {
      proceed();
      const second = dgram.createSocket({ type: 'udp4', lookup });
      second.bind(port, 'another.name', () => console.log(`SAYS ${JSON.stringify([...asked, second.address().address])}`));
      proceed();
    });
  },
  [['a.name', 4], ['another.name', 4], '127.0.0.1'],
);

everywhere(
  'a signal that aborts closes a socket that binds and one that is bound',
  ({ port }) => {
    const dgram = require('node:dgram');
    const events = [];
    const [first, second] = [new AbortController(), new AbortController()];
    const binding = dgram.createSocket({ type: 'udp4', signal: first.signal });
    binding.on('listening', () => events.push('listening'));
    binding.on('close', () => {
      events.push('closed while binding');
      const bound = dgram.createSocket({ type: 'udp4', signal: second.signal });
      bound.on('close', () => console.log(`SAYS ${JSON.stringify([...events, 'closed'])}`));
      bound.bind(port, '127.0.0.1', () => second.abort());
    });
    binding.bind(port, '127.0.0.1');
    first.abort();
  },
  ['closed while binding', 'closed'],
);

everywhere(
  'errors of bind have Node’s shape, and the socket can be bound again',
  ({ port }) => {
    const dgram = require('node:dgram');
    const seen = [];
    const lookup = (host, family, callback) => {
      if (host === 'nowhere') callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
      else callback(null, host, 4);
    };
    const holder = dgram.createSocket('udp4').bind({ port: 0, address: '127.0.0.1', exclusive: true }, () => {
      const taken = holder.address().port;
      const tries = [[taken, '127.0.0.1'], [port, '192.0.2.1'], [port, '::1'], [port, 'nowhere']];
      const socket = dgram.createSocket({ type: 'udp4', lookup });
      const next = () => socket.bind(...(tries.shift() ?? [port, '127.0.0.1']));
      socket.on('error', ({ name, message, code, errno, syscall, address, port }) => {
        seen.push({ name, message: message.replace(taken, 'TAKEN'), code, errno, syscall, address, port: port === taken ? 'TAKEN' : port });
        next();
      });
      socket.on('listening', () => console.log(`SAYS ${JSON.stringify([...seen, socket.address()])}`));
      next();
    });
  },
  (port) => {
    const error = (code, errno, address, at) => {
      const message = `bind ${code} ${address}:${at}`;
      return { name: 'Error', message, code, errno: -errno, syscall: 'bind', address, port: at };
    };
    return [
      error('EADDRINUSE', 98, '127.0.0.1', 'TAKEN'),
      error('EADDRNOTAVAIL', 99, '192.0.2.1', port),
      error('EINVAL', 22, '::1', port),
      { name: 'Error', message: 'no such name', code: 'ENOTFOUND' },
      { address: '127.0.0.1', family: 'IPv4', port },
    ];
  },
);

test('reuseAddr shares a port with another program; without it the bind fails in every worker', async (t) => {
  const main = ({ port, reuseAddr }) => {
    const socket = require('node:dgram').createSocket({ type: 'udp4', reuseAddr });
    socket.on('error', ({ code }) => console.log(`SAYS ${code}`));
    socket.bind(port, '127.0.0.1', () => console.log('SAYS bound'));
  };
  const another = async (port) => {
    const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true }).bind(port, '127.0.0.1');
    t.after(() => socket.close());
    return once(socket, 'listening').then(
      () => 'bound',
      ({ code }) => code,
    );
  };
  for (const runner of runners) {
    const [first, second, third] = [await freePort(), await freePort(), await freePort()];
    await another(first);
    await another(second);
    await runAs(t, runner, main, { given: { port: first, reuseAddr: true } }).until(/SAYS bound/);
    await runAs(t, runner, main, { given: { port: second, reuseAddr: false } }).until(/SAYS EADDRINUSE/);
    // In node:cluster a program that says reuseAddr takes the port over.
    if (runner === 'node:cluster') continue;
    await runAs(t, runner, main, { given: { port: third, reuseAddr: false } }).until(/SAYS bound/);
    assert.equal(await another(third), 'EADDRINUSE', runner);
  }
});

everywhere(
  'udp4 and udp6 share a port with ipv6Only, and without it they do not',
  ({ port }) => {
    const dgram = require('node:dgram');
    const bind = (options, at) =>
      new Promise((resolve) => {
        const socket = dgram.createSocket(options).on('error', ({ code }) => resolve(code));
        socket.bind(at, () => resolve(`${socket.address().address} ${socket.address().port === at}`));
      });
    const both = async (ipv6Only, at) => [await bind({ type: 'udp6', ipv6Only }, at), await bind({ type: 'udp4' }, at)];
    (async () => console.log(`SAYS ${JSON.stringify([await both(true, port), await both(false, port + 1)])}`))();
  },
  [
    [':: true', '0.0.0.0 true'],
    [':: true', 'EADDRINUSE'],
  ],
  { ...ownNetwork(), skip: noNetworks },
);

everywhere(
  'sizes of buffers, TTL, broadcast and connect are the socket’s own',
  ({ port }) => {
    const dgram = require('node:dgram');
    const peer = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => {
      const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 20_000, sendBufferSize: 30_000 });
      socket.bind(port, '127.0.0.1', () => {
        socket.setBroadcast(true);
        const sizes = [socket.getRecvBufferSize(), socket.getSendBufferSize(), socket.setTTL(7), socket.setMulticastTTL(3)];
        socket.connect(peer.address().port, '127.0.0.1', () => {
          sizes.push(socket.remoteAddress().port === peer.address().port);
          socket.disconnect();
          console.log(`SAYS ${JSON.stringify(sizes)}`);
        });
      });
    });
  },
  // The kernel doubles what it is asked for.
  [40_000, 60_000, 7, 3, true],
);

test('every worker joins a multicast group, and leaving it does not affect other workers', { skip: noNetworks }, async (t) => {
  const main = () => {
    const dgram = require('node:dgram');
    const fs = require('node:fs');
    const group = '224.0.0.114';
    const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    socket.on('message', (message) => console.log(`HEARD ${message}`));
    const code = (act) => {
      try {
        act();
        return 'done';
      } catch ({ code }) {
        return code;
      }
    };
    socket.bind(5353, () => {
      const join = () => code(() => socket.addMembership(group, '127.0.0.1'));
      const leave = () => code(() => socket.dropMembership(group, '127.0.0.1'));
      socket.setMulticastInterface('127.0.0.1');
      process.on('SIGUSR1', () => socket.send('all', 5353, group));
      process.on('SIGUSR2', () => console.log(`LEFT ${leave()} ${fs.readFileSync('/proc/self/net/igmp', 'utf8').includes('720000E0')}`));
      console.log(`SAYS ${[join(), join(), leave(), leave(), join()].join(' ')}`);
    });
  };
  const cluster = runAs(t, 'drover', main, { workers: 2, ...ownNetwork() });
  const alone = runAs(t, 'one process', main, ownNetwork());
  const expected = /SAYS done EADDRINUSE done EADDRNOTAVAIL done/;
  await alone.until(expected);
  alone.signal('SIGUSR1');
  await alone.until(/HEARD all/);
  alone.signal('SIGUSR2');
  await alone.until(/LEFT done false/);

  await cluster.untilMany(2, expected);
  const [first, second] = cluster.workers();
  process.kill(second, 'SIGUSR1');
  await cluster.until(/HEARD all/);
  process.kill(first, 'SIGUSR2');
  await cluster.until(/LEFT done true/);
  process.kill(second, 'SIGUSR1');
  await cluster.untilMany(2, /HEARD all/);
  process.kill(second, 'SIGUSR2');
  await cluster.until(/LEFT done false/);
});

test('the options of a socket of IPv6 are those of IPv6', async (t) => {
  const strace = await findStrace(t);
  if (strace === null) return;
  const main = ({ port }) => {
    const socket = require('node:dgram').createSocket('udp6');
    socket.bind(port, '::1', () => {
      socket.setTTL(5);
      socket.setMulticastTTL(4);
      console.log('SET');
    });
  };
  for (const runner of ['one process', 'drover']) {
    const traced = { node: strace, execArgv: ['-f', '-e', 'trace=setsockopt', process.execPath] };
    const ran = runAs(t, runner, main, { given: { port: await freePort() }, ...traced });
    await ran.until(/SOL_IPV6, IPV6_UNICAST_HOPS, \[5\]/);
    await ran.until(/SOL_IPV6, IPV6_MULTICAST_HOPS, \[4\]/);
    await ran.stop();
  }
});

/** A server of the test's own that answers with what it got. */
async function echo(t) {
  const server = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  t.after(() => server.close());
  server.on('message', (message, { port, address }) => server.send(message, port, address));
  await once(server, 'listening');
  return server.address().port;
}

for (const [what, bind] of [
  ['bind(0)', (socket, begin) => socket.bind(0, begin)],
  ['bind()', (socket, begin) => socket.bind(begin)],
  ['no bind at all', (_, begin) => begin()],
  ['exclusive', (socket, begin) => socket.bind({ port: 0, exclusive: true }, begin)],
]) {
  test(`responses to a client socket reach the worker that sent the request: ${what}`, async (t) => {
    const main = `({ to }) => {
      const socket = require('node:dgram').createSocket('udp4');
      const bind = ${bind};
      let left = 100;
      const ask = () => left > 0 && socket.send(String(process.pid), to, '127.0.0.1');
      socket.on('message', (message) => {
        if (String(message) !== String(process.pid)) console.log('ANOTHER’S');
        left -= 1;
        if (left === 0) console.log('SAYS ' + socket.address().port);
        else ask();
      });
      bind(socket, ask);
    }`;
    const config = { processManagement: { ready: 'boot' } };
    const cluster = runAs(t, 'drover', main, { workers: 3, config, given: { to: await echo(t) } });
    const ports = (await cluster.untilMany(3, /SAYS (\d+)/)).map(([, port]) => port);
    assert.equal(new Set(ports).size, 3);
    assert.doesNotMatch(cluster.output, /ANOTHER/);
  });
}

for (const runner of ['node:cluster', 'drover']) {
  test(`exclusive: false on port 0 is shared, the k-th of each worker with the k-th of the others: ${runner}`, async (t) => {
    const main = () => {
      const dgram = require('node:dgram');
      const at = { port: 0, address: '127.0.0.1', exclusive: false };
      const [first, second] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
      first.bind(at, () => second.bind(at, () => console.log(`SAYS ${first.address().port} ${second.address().port}`)));
    };
    const cluster = runAs(t, runner, main, { workers: 3 });
    const said = (await cluster.untilMany(3, /SAYS (\d+) (\d+)/)).map(([, ...ports]) => ports);
    assert.deepEqual(said, [said[0], said[0], said[0]]);
    assert.notEqual(said[0][0], said[0][1]);
  });

  test(`exclusive: true gives a worker its own socket: ${runner}`, async (t) => {
    const main = ({ port }) => {
      const socket = require('node:dgram').createSocket('udp4').on('error', ({ code }) => console.log(`SAYS ${code}`));
      socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => console.log('SAYS bound'));
      setInterval(() => {}, 1000);
    };
    const config = { processManagement: { ready: 'boot' } };
    const cluster = runAs(t, runner, main, { workers: 2, config, given: { port: await freePort() } });
    const said = (await cluster.untilMany(2, /SAYS (\w+)/)).map(([, what]) => what);
    assert.deepEqual(said.toSorted(), ['EADDRINUSE', 'bound']);
  });
}

/** How many datagram sockets a process has open. */
function socketsOf(pid) {
  const tables = ['udp', 'udp6'].map((name) => fs.readFileSync(`/proc/${pid}/net/${name}`, 'utf8'));
  const inodes = new Set(tables.flatMap((table) => table.split('\n').slice(1)).map((row) => row.trim().split(/\s+/)[9] ?? ''));
  const links = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      // Closed meanwhile.
      return '';
    }
  });
  return links.filter((link) => inodes.has(link.match(/^socket:\[(\d+)\]$/)?.[1] ?? 'none')).length;
}

const descriptorsOf = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

for (const [what, at] of [
  ['a named port', ({ port }) => ({ port, address: '127.0.0.1' })],
  ['a shared port that the kernel chooses', () => ({ port: 0, address: '127.0.0.1', exclusive: false })],
  ['ports of its own', () => ({ port: 0, address: '127.0.0.1' })],
]) {
  test(`10,000 binds and closes leave the primary’s descriptors as they were: ${what}`, async (t) => {
    const main = `({ port }) => {
      const dgram = require('node:dgram');
      const at = (${at})({ port });
      let left = 10_001;
      const next = () => {
        left -= 1;
        if (left === 10_000) return process.once('SIGUSR1', next), console.log('BEGUN');
        if (left === 0) return console.log('DONE');
        const socket = dgram.createSocket('udp4');
        socket.bind(at, () => socket.close(next));
      };
      require('node:http').createServer().listen(port, '127.0.0.1', next);
    }`;
    // A probe has a connection for a moment.
    const config = { monitoring: { enabled: false }, healthCheck: { enabled: false } };
    const cluster = runAs(t, 'drover', main, { given: { port: await freePort() }, config });
    await cluster.until(/STARTED/);
    await cluster.until(/BEGUN/);
    const [worker] = cluster.workers();
    const before = [cluster.pid, worker].map(descriptorsOf);
    process.kill(worker, 'SIGUSR1');
    await cluster.until(/DONE/);
    const [primarys, workers] = [cluster.pid, worker].map(descriptorsOf);
    assert.equal(primarys, before[0]);
    // What the worker has needed to start may be closed meanwhile.
    assert.ok(workers <= before[1], `${workers}, before ${before[1]}`);
  });
}

test('a worker that is killed, and one that exits, leave no socket in the primary', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const dgram = require('node:dgram');
    const http = require('node:http');
    // The first life of the slot has 200 ports that its replacements do not want, and one that they do.
    const server = dgram.createSocket('udp4').bind(port, '127.0.0.1', () => {
      server.on('message', (message, from) => server.send(`${process.pid}`, from.port, from.address));
      http.createServer().listen(port, '127.0.0.1', () => console.log(`SERVES ${process.pid}`));
    });
    process.on('SIGUSR1', () => {
      let left = 200;
      const next = () => {
        if (left === 0) return console.log('HAS MANY');
        left -= 1;
        return dgram.createSocket('udp4').bind({ port: 0, address: '127.0.0.1', exclusive: false }, next);
      };
      next();
    });
    process.on('SIGUSR2', () => process.exit(0));
  };
  const config = { monitoring: { enabled: false }, processManagement: { restartDelay: 1 } };
  const cluster = runAs(t, 'drover', main, { given: { port }, config });
  await cluster.until(/STARTED/);
  assert.equal(socketsOf(cluster.pid), 1);
  let lives = 1;
  for (const end of ['SIGKILL', 'SIGUSR2']) {
    const [worker] = cluster.workers();
    process.kill(worker, 'SIGUSR1');
    await cluster.untilMany(lives, /HAS MANY/);
    assert.equal(socketsOf(cluster.pid), 201);
    process.kill(worker, end);
    lives += 1;
    await cluster.untilMany(lives, /SERVES \d+/);
    // Nothing tells of it: the replacement has had a moment to ask for what its predecessor had.
    for (const until = performance.now() + PATIENCE; socketsOf(cluster.pid) > 1; await wait(10)) assert.ok(performance.now() < until);
    assert.equal(await datagram(port), String(cluster.workers()[0]));
  }
});

test('a worker’s replacement takes over its datagram socket, and datagrams in between are answered', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (message, from) => socket.send(`${message} ${process.pid}`, from.port, from.address));
    socket.bind(port, '127.0.0.1', () => console.log(`BOUND ${process.pid}`));
  };
  const cluster = runAs(t, 'drover', main, { given: { port } });
  await cluster.until(/STARTED/);
  const [, first] = (await datagram(port)).split(' ');
  process.kill(Number(first), 'SIGSTOP');
  const client = dgram.createSocket('udp4');
  t.after(() => client.close());
  const answers = [];
  client.on('message', (message) => answers.push(String(message).split(' ')));
  for (let number = 0; number < 50; number += 1) await new Promise((sent) => client.send(`${number}`, port, '127.0.0.1', sent));
  process.kill(Number(first), 'SIGKILL');
  while (answers.length < 50) await once(client, 'message');
  assert.deepEqual(
    answers.map(([number]) => Number(number)),
    Array.from({ length: 50 }, (_, number) => number),
  );
  assert.notEqual(answers[0][1], first);
});

test('short-lived datagram sockets leave descriptors for connections', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const dgram = require('node:dgram');
    const http = require('node:http');
    const open = [];
    // As many as the primary gives, then short-lived ones without end.
    const hold = () => {
      const socket = dgram.createSocket('udp4').on('error', ({ code }) => {
        console.log(`HOLDS ${open.length} ${code}`);
        churn();
      });
      socket.bind({ port: 0, address: '127.0.0.1', exclusive: false }, () => {
        open.push(socket);
        hold();
      });
    };
    const churn = () => {
      const socket = dgram.createSocket('udp4').on('error', () => setImmediate(churn));
      socket.bind({ port: 0, address: '127.0.0.1', exclusive: false }, () => socket.close(() => setImmediate(churn)));
    };
    const server = http.createServer((_, response) => response.end('served'));
    server.listen(port, '127.0.0.1', hold);
    process.on('SIGUSR1', () => {
      open.splice(0).forEach((socket) => socket.close());
      console.log('LET GO');
    });
  };
  const config = { monitoring: { enabled: false }, loadBalancing: { dispatch: 'push' } };
  const cluster = runAs(t, 'drover', main, { given: { port }, config, ...withDescriptors(512) });
  await cluster.until(/STARTED/);
  const [, held] = await cluster.until(/HOLDS (\d+) EMFILE/);
  assert.ok(Number(held) > 100, held);
  const ask = async () => {
    const answers = await Promise.all(Array.from({ length: 64 }, () => request(port)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  };
  for (let round = 0; round < 10; round += 1) await ask();
  process.kill(cluster.workers()[0], 'SIGUSR1');
  await cluster.until(/LET GO/);
  await ask();
});

for (const [what, main, ready] of [
  ['a port', ({ port }) => require('node:dgram').createSocket('udp4').bind(port, '127.0.0.1'), true],
  ['a port of its own', () => require('node:dgram').createSocket('udp4').bind(), true],
  ['an exclusive port', ({ port }) => require('node:dgram').createSocket('udp4').bind({ port, exclusive: true, address: '127.0.0.1' }), true],
  ['only what it sends', ({ port }) => require('node:dgram').createSocket('udp4').send('hello', port, '127.0.0.1'), false],
]) {
  test(`a program of datagrams alone with ${what} ${ready ? 'is ready' : 'has not listened'}`, async (t) => {
    const config = { processManagement: { startupTimeout: ready ? 60_000 : 500, maxRestarts: 0 } };
    const cluster = runAs(t, 'drover', main, { given: { port: await freePort() }, config });
    await cluster.until(ready ? /^STARTED/m : /^NOT STARTED/m);
  });
}

test('clients beside a server do not make its worker ready before the server listens', async (t) => {
  const script = `
    import dgram from 'node:dgram';
    import http from 'node:http';
    import { once } from 'node:events';
    import { setImmediate as turn } from 'node:timers/promises';
    import drover from 'drover';
    if (process.env.CLUSTER_WORKER) {
      await once(dgram.createSocket('udp4').bind(), 'listening');
      await new Promise((sent) => dgram.createSocket('udp4').send('started', ${await freePort()}, '127.0.0.1', sent));
      for (let turns = 0; turns < 100; turns += 1) await turn();
      http.createServer().listen(${await freePort()}, '127.0.0.1');
    } else {
      new drover.ClusterManager({ workers: 1, processManagement: { lingerTimeout: 0 } }).start();
    }`;
  const cluster = program(t, script, { name: 'server.mjs' });
  await cluster.event('cluster:started');
  const told = cluster.events().map(({ event }) => event);
  assert.ok(told.includes('cluster:listening') && told.indexOf('cluster:listening') < told.indexOf('worker:ready'), `${told}`);
});

everywhere(
  'a socket that was unref’d before bind keeps nobody alive',
  ({ port }) => {
    const socket = require('node:dgram').createSocket('udp4').unref();
    socket.bind(port, '127.0.0.1', () => {
      const { port } = socket.address();
      process.on('exit', (code) => console.log(`SAYS ${JSON.stringify([port, code])}`));
    });
    setImmediate(() => setImmediate(() => {}));
  },
  (port) => [port, 0],
  // There the channel of the worker keeps it alive.
  { except: ['node:cluster'], config: { processManagement: { maxRestarts: 0 } } },
);

/** Answers 50 ms later than it reads, on a port that is not its first word. */
function slowly({ port }) {
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (message, from) => {
    console.log(`READ ${message}`);
    setTimeout(() => socket.send(`${message} ${process.pid}`, from.port, from.address), 50);
  });
  socket.bind(port, '127.0.0.1', () => console.log(`BOUND ${process.pid}`));
}

/** Sockets that hold the loop would hold these workers for an hour. */
const patient = { gracefulShutdownTimeout: '1h', lingerTimeout: '1h' };

for (const workers of [1, 3]) {
  test(`a roll loses no datagram: ${workers} ${workers === 1 ? 'worker' : 'workers'}`, async (t) => {
    const port = await freePort();
    const config = { processManagement: patient };
    const cluster = runAs(t, 'drover', slowly, { workers, given: { port }, config });
    await cluster.until(/STARTED/);
    const client = dgram.createSocket('udp4');
    const answered = new Map();
    client.on('message', (message) => {
      const [number, pid] = String(message).split(' ');
      answered.set(number, pid);
    });
    let sent = 0;
    const sending = setInterval(() => client.send(`${(sent += 1)}`, port, '127.0.0.1'), 2);
    t.after(() => {
      clearInterval(sending);
      client.close();
    });
    for (const lives of [2, 3]) {
      const before = cluster.workers();
      cluster.signal('SIGUSR2');
      await cluster.untilMany(workers * lives, /BOUND \d+/);
      while (cluster.workers().some((pid) => before.includes(pid))) await once(client, 'message');
    }
    // Workers of three lives: the last ones may not have read anything yet.
    while (new Set(answered.values()).size <= 2 * workers) await once(client, 'message');
    clearInterval(sending);
    while (answered.size < sent) await once(client, 'message');
    assert.deepEqual(cluster.deaths, []);
  });
}

test('a stop answers the datagrams that were read, and ends although the socket is open', async (t) => {
  const port = await freePort();
  const cluster = runAs(t, 'drover', slowly, { workers: 2, given: { port }, config: { processManagement: patient } });
  await cluster.until(/STARTED/);
  const client = dgram.createSocket('udp4');
  t.after(() => client.close());
  client.send('last', port, '127.0.0.1');
  await cluster.until(/READ last/);
  cluster.signal('SIGTERM');
  const [answer] = await once(client, 'message');
  assert.match(String(answer), /^last \d+$/);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
  assert.deepEqual(cluster.deaths, []);
});

test('a worker that leaves answers on sockets of its own until it ends', async (t) => {
  const main = ({ to }) => {
    const dgram = require('node:dgram');
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
    if (app.isPrimary) return void app.start(0, '127.0.0.1').then(() => console.log('UP'));
    app.onShutdown(async () => {
      const client = dgram.createSocket('udp4');
      client.send('counted', to, '127.0.0.1');
      await new Promise((resolve) => client.once('message', (message) => resolve(console.log(`HEARD ${message}`))));
      client.close();
    });
    return void app.start(0, '127.0.0.1');
  };
  const cluster = runAs(t, 'one process', main, { given: { to: await echo(t) } });
  await cluster.until(/UP/);
  cluster.signal('SIGTERM');
  await cluster.until(/HEARD counted/);
  assert.deepEqual(await cluster.exit, { code: 0, signal: null });
});

test('a socket bound by a draining worker takes no datagrams from other workers', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const dgram = require('node:dgram');
    const bind = (says) => {
      const socket = dgram.createSocket('udp4').on('message', (message, from) => socket.send(says, from.port, from.address));
      socket.bind(port, '127.0.0.1', () => console.log(`BOUND ${says}`));
    };
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    if (app.isPrimary) return void app.start(0, '127.0.0.1').then(() => console.log('UP'));
    if (app.workerId === '0') {
      app.onShutdown(() => new Promise(() => bind('leaving')));
      process.on('SIGUSR1', () => app.stopCluster());
      console.log(`FIRST ${process.pid}`);
    } else {
      bind('serving');
    }
    return void app.start(0, '127.0.0.1');
  };
  const cluster = runAs(t, 'one process', main, { given: { port } });
  await cluster.until(/UP/);
  await cluster.until(/BOUND serving/);
  const first = Number((await cluster.until(/FIRST (\d+)/))[1]);
  process.kill(first, 'SIGUSR1');
  await cluster.until(/BOUND leaving/);
  for (let round = 0; round < 20; round += 1) assert.equal(await datagram(port), 'serving');
  process.kill(first, 'SIGKILL');
});

everywhere(
  'bindSync shares a port like bind',
  ({ port }) => {
    const socket = require('node:dgram').createSocket('udp4');
    const { address, port: at } = socket.bindSync({ port, address: '127.0.0.1' });
    console.log(`SAYS ${JSON.stringify([address, at])}`);
  },
  (port) => ['127.0.0.1', port],
  { runtime: () => nodeWith('bindSync' in dgram.Socket.prototype, 26), except: ['node:cluster'] },
);
