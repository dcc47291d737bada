'use strict';

// The soak's judgement: what it calls ok, failed, hung, wrong and duplicated, whom it blames, and that it hides
// nothing. What it finds wrong with a cluster is only worth as much.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');

const SEED = 20;

test('a seed gives the same schedule again, and another one another', async () => {
  const { schedule } = await import('../bench/soak/schedule.mjs');
  for (const faults of ['rolls', 'all']) {
    const events = schedule({ seed: SEED, seconds: 60, faults });
    assert.deepEqual(schedule({ seed: SEED, seconds: 60, faults }), events);
    assert.notDeepEqual(schedule({ seed: SEED + 1, seconds: 60, faults }), events);
  }
});

test('a minute has at least 20 rolls and scalings, each scaling to another size within the bounds', async () => {
  const { SIZES, schedule } = await import('../bench/soak/schedule.mjs');
  for (let seed = 0; seed < 100; seed += 1) {
    const events = schedule({ seed, seconds: 60, faults: 'rolls' });
    assert.ok(events.length >= 20, `seed ${seed}: ${events.length}`);
    assert.deepEqual([...new Set(events.map((event) => event.do))].sort(), ['roll', 'scale']);
    let size = SIZES.first;
    for (const { to } of events.filter((event) => event.do === 'scale')) {
      assert.ok(to !== size && to >= SIZES.least && to <= SIZES.most, `seed ${seed}: from ${size} to ${to}`);
      size = to;
    }
  }
});

test('with faults the last event is one that kills, and hangs are clearly shorter or longer than the timeout', async () => {
  const { HANG_MS, schedule } = await import('../bench/soak/schedule.mjs');
  for (let seed = 0; seed < 100; seed += 1) {
    const events = schedule({ seed, seconds: 60, faults: 'all' });
    assert.ok(events.at(-1).isLast && events.at(-1).kills);
    assert.equal(events.filter(({ isLast }) => isLast).length, 1);
    const hangs = events.filter(({ ms }) => ms !== undefined);
    assert.ok(hangs.length > 0);
    for (const { kills, ms } of hangs) assert.ok(kills ? ms > 2 * HANG_MS : ms < HANG_MS / 1.5, `seed ${seed}: ${ms}`);
  }
});

/** A ledger in which the request `a` of 500 ms left at 1,000. */
async function ledgerWithOne() {
  const { Ledger } = await import('../bench/soak/ledger.mjs');
  const ledger = new Ledger();
  ledger.begin('a', { kind: 'GET', at: 1000, lasts: 500 });
  return ledger;
}

const counts = (more) => ({ requests: 1, ok: 0, failed: 0, hung: 0, wrong: 0, duplicated: 0, ...more });

test('the right answer is ok, another is wrong, none is a failure', async () => {
  const right = await ledgerWithOne();
  assert.equal(right.waiting, 1);
  assert.deepEqual(right.totals(), counts({ requests: 0 }));
  right.answer('a', true, 1600);
  assert.deepEqual(right.totals(), counts({ ok: 1 }));
  assert.deepEqual(right.failures, []);

  const wrong = await ledgerWithOne();
  wrong.answer('a', false, 1600);
  assert.deepEqual(wrong.totals(), counts({ wrong: 1 }));

  const failed = await ledgerWithOne();
  failed.fail('a', 'ECONNRESET', 1600);
  assert.deepEqual(failed.totals(), counts({ failed: 1 }));
  const [{ id, reason, begun, at }] = failed.failures;
  assert.deepEqual({ id, reason, begun, at }, { id: 'a', reason: 'ECONNRESET', begun: 1000, at: 1600 });
});

test('a request hangs 10 s after its answer should have come, not earlier, and what comes later is no excuse', async () => {
  const ledger = await ledgerWithOne();
  assert.deepEqual(ledger.overdue(11_499), []);
  assert.deepEqual(ledger.overdue(11_500), ['a']);
  assert.deepEqual(ledger.totals(), counts({ hung: 1 }));
  ledger.fail('a', 'closed', 11_600);
  assert.deepEqual(ledger.totals(), counts({ hung: 1 }));
});

test('a second answer, an answer that nobody asked for and a second execution make a request a duplicated one', async () => {
  for (const again of [(l) => l.answer('a', true, 1700), (l) => l.unasked('a', 1700), (l) => l.executedTwice('a', 1700)]) {
    const ledger = await ledgerWithOne();
    ledger.answer('a', true, 1600);
    again(ledger);
    again(ledger);
    assert.deepEqual(ledger.totals(), counts({ duplicated: 1 }));
    assert.equal(ledger.failures.length, 1);
  }
});

test('a request that was taken back counts as none, and no name is used twice', async () => {
  const ledger = await ledgerWithOne();
  assert.throws(() => ledger.begin('a', { kind: 'GET', at: 2000 }));
  ledger.withdraw('a');
  assert.deepEqual([ledger.totals().requests, ledger.waiting], [0, 0]);
});

const JOURNAL = [
  'c 11 80 5000 100',
  'r 11 begun-in-11 110',
  'r 22 begun-in-22 110',
  'c 22 80 6000 100',
  // The same client port again, long after; then that connection moves to another worker.
  'c 11 80 6000 500',
  'c 22 80 6000 600',
  'x 11 posted 120',
  'x 22 posted 130',
  'r 22 cut by a ki',
].join('\n');

test('a failure is excused only inside a worker that was killed, and only when it came with the death', async () => {
  const { readJournal, wasInKilledWorker } = await import('../bench/soak/blame.mjs');
  const journal = readJournal(JOURNAL);
  const deaths = new Map([[11, { from: 700, until: 720, held: new Set(['80 7000']) }]]);
  const failed = { id: 'x', verdict: 'failed', begun: 690, at: 725, connection: null };
  const on = (clientPort, opened) => ({ connection: { serverPort: 80, clientPort, opened } });
  const isExcused = (more) => wasInKilledWorker({ ...failed, ...more }, journal, deaths);

  assert.ok(isExcused({ id: 'begun-in-11' }), 'the killed worker had begun it');
  assert.ok(isExcused(on(5000, 90)), 'the killed worker held its connection');
  assert.ok(!isExcused(on(6000, 450)), 'the connection had moved to another worker');
  assert.ok(isExcused(on(7000, 690)), 'the kernel had given it to the killed worker already');
  assert.ok(!isExcused(on(7000, 800)), 'its port was another connection’s in the killed worker');
  assert.ok(!isExcused({}), 'nobody had it');
  assert.ok(!isExcused(on(5000, 200)), 'its port was another connection’s before');
  assert.ok(!isExcused({ id: 'begun-in-11', at: 699 }), 'it failed before');
  assert.ok(!isExcused({ id: 'begun-in-11', at: 2800 }), 'it failed long after');
  const slowly = { serverPort: 80, clientPort: 5000, opened: 90, readAt: 2700 };
  assert.ok(isExcused({ id: 'begun-in-11', at: 2800, connection: slowly }), 'it read what the killed worker had sent');
  assert.ok(!isExcused({ id: 'begun-in-22', at: 2800, connection: slowly }), 'another worker had begun it');
  assert.ok(!isExcused({ ...on(5000, 90), begun: 780, at: 790 }), 'it left long after');
  assert.ok(!isExcused({ id: 'begun-in-11', verdict: 'hung' }), 'nothing excuses a hung one');
  assert.ok(!isExcused({ id: 'begun-in-11', verdict: 'wrong' }), 'nor a wrong one');
  assert.ok(!wasInKilledWorker({ ...failed, id: 'begun-in-11' }, journal, new Map()), 'nobody was killed');
  assert.equal(journal.executions.get('posted'), 2);
  assert.deepEqual([...journal.workers], [11, 22]);
});

test('answers are read whole wherever they are cut', async () => {
  const { AnswerReader } = await import('../bench/soak/clients/answers.mjs');
  const stream = Buffer.from(
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst' +
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\nA\r\nond chunks\r\n0\r\n\r\n' +
      'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n',
  );
  const read = (pieces) => {
    const reader = new AnswerReader();
    const answers = pieces.flatMap((piece) => reader.read(piece));
    assert.equal(reader.isWithin, false);
    return answers.map(({ status, body }) => `${status} ${body}`);
  };
  const expected = ['200 first', '200 second chunks', '503 '];
  assert.deepEqual(read([stream]), expected);
  for (let at = 1; at < stream.length; at += 1) {
    assert.deepEqual(read([stream.subarray(0, at), stream.subarray(at)]), expected, `cut at ${at}`);
  }
  assert.deepEqual(read([...stream].map((byte) => Buffer.from([byte]))), expected);
  assert.throws(() => new AnswerReader().read(Buffer.from('nonsense\r\n\r\n')));
});

/** A server whose connections are in the test's hands; `accepted()` resolves to the next. */
async function server(t) {
  const made = net.createServer().listen(0, '127.0.0.1');
  t.after(() => made.close());
  await once(made, 'listening');
  return { port: made.address().port, accepted: async () => (await once(made, 'connection'))[0] };
}

const EMPTY = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n';

test('a connection hides nothing: closes, resets, last answers and bytes that nobody asked for', async (t) => {
  const { Connection } = await import('../bench/soak/clients/connection.mjs');
  const { port, accepted } = await server(t);
  async function connect(unasked) {
    const peer = accepted();
    const connection = new Connection(port, { unasked });
    t.after(() => connection.close());
    return { connection, peer: await peer };
  }

  const closed = await connect();
  const unanswered = closed.connection.ask();
  closed.peer.end();
  await assert.rejects(unanswered, { message: 'closed', unprocessed: false });
  await assert.rejects(closed.connection.ask(), { message: 'closed' });

  const cut = await connect();
  const half = cut.connection.ask();
  cut.peer.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal');
  await assert.rejects(half, { message: 'closed within the answer', unprocessed: false });

  const reset = await connect();
  const torn = reset.connection.ask();
  reset.peer.resetAndDestroy();
  await assert.rejects(torn, { message: 'ECONNRESET' });

  const last = await connect();
  const [answered, behind] = [last.connection.ask(), last.connection.ask()];
  last.peer.write(`${EMPTY}Connection: close\r\n\r\n`);
  assert.equal((await answered).status, 200);
  await assert.rejects(behind, { unprocessed: true });
  assert.equal(last.connection.isOpen, false);

  let say;
  const said = new Promise((resolve) => (say = resolve));
  const chatty = await connect(say);
  chatty.peer.write(`${EMPTY}\r\n`);
  assert.equal(await said, 'HTTP 200');
});
