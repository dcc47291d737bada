'use strict';

// A program may open hundreds of ports under an ordinary limit of descriptors: listeners for each worker are made only
// while they fit, and what is open is served.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { freePort, tcp } = require('./helpers/http');
const { program, withDescriptors } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');
const { inWay, processesOf, ways } = require('./helpers/ways');

const LIMIT = 1024;

/** Opens so many ports of the kernel's choice and prints them. */
function many({ count }) {
  const net = require('node:net');
  let left = count;
  const ports = [];
  for (let nth = 0; nth < count; nth += 1) {
    const server = net.createServer((socket) => socket.end(`${process.pid}\n`));
    server.on('error', ({ code }) => console.log(`ERROR ${nth} ${code}`));
    server.listen(0, '127.0.0.1', () => {
      ports.push(server.address().port);
      left -= 1;
      if (left === 0) console.log(`PORTS ${ports.sort().join(' ')}`);
    });
  }
}

const openDescriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

for (const way of ways) {
  test(`${way}: 300 ports under a limit of ${LIMIT} descriptors all answer, with 64 clients beside`, async (t) => {
    const run = program(t, inWay(way, many, { count: 300 }), withDescriptors(LIMIT));
    const [[, list], ...others] = await run.untilMany(processesOf(way), /PORTS (.*)/);
    assert.ok(others.every(([, other]) => other === list));
    const ports = list.split(' ').map(Number);
    assert.equal(new Set(ports).size, 300);
    for (let at = 0; at < ports.length; at += 64) {
      const clients = await Promise.all(ports.slice(at, at + 64).map((port) => tcp(port)));
      const lines = await Promise.all(clients.map((client) => client.line()));
      assert.ok(lines.every((line) => /^\d+$/.test(line)), lines.join());
      clients.forEach((client) => client.close());
    }
    assert.doesNotMatch(run.output, /ERROR/);
  });
}

test('the log says once that further addresses have no listeners of their own, and few descriptors are spent', async (t) => {
  const given = { count: 300, config: { logging: { level: 'warn' } } };
  const run = program(t, inWay('drover', many, given), withDescriptors(LIMIT));
  await run.untilMany(2, /PORTS/);
  assert.equal(run.raw.match(/Connections to further addresses go through the primary/g)?.length, 1, run.output);
  assert.ok(openDescriptors(run.pid) < LIMIT / 2 + 64, `${openDescriptors(run.pid)} in the primary`);
  // One for each port, a second where the worker accepts by itself; Bun and drover have one each.
  for (const pid of run.others()) assert.ok(openDescriptors(pid) < (isBun ? 600 : 300) + 128, `${openDescriptors(pid)} in a worker`);
});

test('an address that would leave no room for connections is refused, and the others are served on', async (t) => {
  const given = { limit: 256, config: { logging: { level: 'warn' }, workers: 1 }, port: await freePort() };
  const run = program(
    t,
    inWay(
      'drover',
      ({ port }) => {
        const net = require('node:net');
        const open = (nth) => {
          const server = net.createServer((socket) => socket.end(`${process.pid}\n`));
          server.on('error', ({ code, syscall }) => console.log(`ERROR ${code} ${syscall}`));
          server.listen(nth === 0 ? port : 0, '127.0.0.1', () => open(nth + 1));
        };
        open(0);
      },
      given,
    ),
    withDescriptors(given.limit),
  );
  await run.until(/ERROR EMFILE listen/);
  for (let visit = 0; visit < 20; visit += 1) {
    const client = await tcp(given.port);
    assert.match(await client.line(), /^\d+$/);
    client.close();
  }
});
