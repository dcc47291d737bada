'use strict';

// What belongs together is one record of the log: a stack, a table, the report of an uncaught error. What does not, is not.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { program } = require('./helpers/program');
const { isBun, printed } = require('./helpers/runtime');

/** Runs `main` in the only worker until the primary has seen that worker's end; resolves to the worker's records. */
async function recordsOf(t, main, { config, env } = {}) {
  const launcher = (given) => {
    if (process.env.CLUSTER_WORKER) return void new Function('require', given.source)(require);
    const { ClusterManager } = require('drover');
    const processManagement = { ready: 'boot', respawn: false };
    const manager = new ClusterManager({ workers: 1, processManagement, monitoring: { port: false }, ...given.config });
    manager.start().catch(() => {});
  };
  const cluster = program(t, launcher, { given: { source: `(${main})()`, config }, env });
  await cluster.exit;
  await cluster.event('cluster:stopped');
  return cluster.raw
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ worker, event }) => worker !== undefined && event === undefined);
}

const throwing = {
  'an error that is thrown': () =>
    setTimeout(() => {
      throw new TypeError('boom\nin two lines', { cause: new Error('the cause') });
    }, 50),
  'a promise that nobody catches': () => setTimeout(() => Promise.reject(new TypeError('boom\nin two lines', { cause: new Error('the cause') })), 50),
  'an error at the start': () => {
    throw new TypeError('boom\nin two lines', { cause: new Error('the cause') });
  },
};

for (const [what, main] of Object.entries(throwing)) {
  test(`${what} is one record, with the stack and the cause in it`, async (t) => {
    const records = await recordsOf(t, main);
    const [record, ...others] = records.filter(({ msg }) => msg.includes('boom') || msg.includes('    at '));
    assert.deepEqual(others, []);
    assert.equal(record.level, 50);
    assert.match(record.msg, new RegExp(`^${isBun ? '' : '[^]*\\n'}${printed('TypeError', 'boom\\nin two lines')}`));
    assert.match(record.msg, isBun ? /\nerror: the cause\n {6}at [^]*\n\nBun v\d/ : /\[cause\]: Error: the cause\n {6}at [^]*\n\nNode\.js v\d/);
  });
}

test('output at the exit, and an incomplete line before it, are separate from the report', async (t) => {
  const records = await recordsOf(t, () => {
    process.on('exit', () => process.stderr.write('half a line'));
    setTimeout(() => {
      throw new Error('boom');
    }, 50);
  });
  assert.deepEqual(records.filter(({ msg }) => msg.includes('half')).map(({ msg }) => msg), ['half a line']);
  assert.equal(records.filter(({ msg }) => msg.includes('boom')).length, 1);
});

test('an error caught by a listener of the program does not split a record', async (t) => {
  const records = await recordsOf(t, () => {
    process.on('uncaughtException', () => {
      console.error('CAUGHT');
      console.error('AFTER');
      setTimeout(() => process.exit(0), 50);
    });
    setTimeout(() => {
      throw new Error('boom');
    }, 50);
  });
  const said = records.map(({ msg }) => msg);
  assert.ok(said.includes('CAUGHT') && said.includes('AFTER'), said.join('|'));
});

test('without the workers’ output in the log drover’s own line tells of an uncaught error', async (t) => {
  const launcher = () => {
    if (process.env.CLUSTER_WORKER) throw new Error('boom');
    const { ClusterManager } = require('drover');
    const processManagement = { ready: 'boot', respawn: false };
    new ClusterManager({ workers: 1, processManagement, monitoring: { port: false }, logging: { includeWorkerLogs: false } }).start().catch(() => {});
  };
  const cluster = program(t, launcher);
  assert.equal((await cluster.event('worker:error', { worker: '0' })).msg, 'Worker 0: Error: boom');
  // Nothing of the marks is on the streams.
  await cluster.exit;
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(cluster.raw + cluster.stderr, /[\x1c\x1d]/);
});

for (const [what, main, expected] of [
  ['a stack', () => console.error(new Error('several\nlines')), [new RegExp(`^${printed('Error', 'several\\nlines')}`)]],
  ['a table', () => console.table([{ a: 1 }, { a: 2 }]), [/^┌.*┐\n[^]*└.*┘$/]],
  ['an object', () => console.log({ a: 'x'.repeat(70), b: ['y'.repeat(70)] }), [/^\{\n {2}a: [^]*\n\}$/]],
  ['bytes', () => process.stdout.write(Buffer.from('head\n  indented\n')), [/^head\n {2}indented$/]],
  ['a corked write', () => (process.stdout.cork(), console.log('a\n  b'), console.log('c'), process.stdout.uncork()), [/^a\n {2}b$/, /^c$/]],
  ['lines that do not belong together', () => console.log('one\ntwo'), [/^one$/, /^two$/]],
  ['records of a logger', () => process.stdout.write('{"msg":"one"}\n{"msg":"two"}\n'), [/^one$/, /^two$/]],
  ['an empty line and a space', () => console.log('\n '), [/^\n $/]],
]) {
  test(`${what}, written at once: ${expected.length === 1 ? 'one record' : 'as many records as there are'}`, async (t) => {
    const records = await recordsOf(t, main);
    assert.equal(records.length, expected.length, JSON.stringify(records));
    for (const [index, pattern] of expected.entries()) assert.match(records[index].msg, pattern);
  });
}

test('a record of several lines names its request once', async (t) => {
  const main = () => {
    const server = require('node:http').createServer((_, response) => {
      console.error(new Error('within a request'));
      console.log('one\ntwo');
      response.end(() => process.exit(0));
    });
    server.listen(0, '127.0.0.1', () => {
      require('node:http').get({ port: server.address().port, headers: { 'x-request-id': 'the-request' } });
    });
  };
  const records = await recordsOf(t, main, { config: { logging: { requestIds: true } } });
  assert.deepEqual(records.map(({ requestId }) => requestId), ['the-request', 'the-request', 'the-request'], JSON.stringify(records));
  assert.match(records.find(({ level }) => level === 50).msg, new RegExp(`^${printed('Error', 'within a request')}`));
});
