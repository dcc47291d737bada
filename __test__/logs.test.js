'use strict';

// The log: drover's own lines and the workers' as one stream, of which no line is torn, lost or doubled.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: wait } = require('node:timers/promises');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { folder, program, write } = require('./helpers/program');

/** Each worker writes `count` numbered lines (0: until it ends), and at its end how many there were. */
function numbered({ port, config, count, length = 200 }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((asked, response) => {
      response.end(String(process.pid));
      if (asked.url === '/write') chat();
    }),
    cluster: { enabled: true, config: { workers: 2, monitoring: { enabled: false }, ...config } },
  });
  let number = 0;
  function chat() {
    for (let turn = 0; turn < 50 && (count === 0 || number < count); turn += 1) {
      number += 1;
      console.log(`LINE ${process.pid} ${number} `.padEnd(length, '.'));
    }
    if (number === count) console.log(`END ${process.pid} ${number}`);
    else setImmediate(chat);
  }
  if (app.isWorker && count === 0) process.on('exit', () => console.log(`END ${process.pid} ${number}`));
  app.start(port, '127.0.0.1').then(() => {
    if (app.isPrimary) console.log('the cluster is ready');
    else if (count === 0) chat();
  });
}

const linesOf = (text) => text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));

const messages = (text) => linesOf(text).map(({ msg }) => msg);

/** Every line of every writer is there once, from the first to the last; to the one that it told at its end. */
function assertWhole(lines) {
  const [counts, ends] = [new Map(), new Map()];
  for (const line of lines) {
    const [, kind, pid, number] = line.match(/^(LINE|END) (\d+) (\d+)(?: \.*)?$/) ?? [];
    if (kind === 'END') ends.set(pid, Number(number));
    if (kind !== 'LINE') continue;
    assert.equal(Number(number), (counts.get(pid) ?? 0) + 1, `of ${pid}`);
    counts.set(pid, Number(number));
  }
  for (const [pid, number] of ends) assert.equal(counts.get(pid), number, `of ${pid}`);
  return { counts, ends };
}

/** Lines of a log with rotation, the oldest first. */
function filesOf(file) {
  const place = path.dirname(file);
  const number = (name) => Number(name.slice('drover.log.'.length) || 0);
  const names = fs.readdirSync(place).filter((name) => name.startsWith('drover.log'));
  return names.sort((a, b) => number(b) - number(a)).map((name) => {
    try {
      return fs.readFileSync(path.join(place, name), 'utf8');
    } catch (error) {
      // A rotation has just renamed it.
      if (error.code !== 'ENOENT') throw error;
      return '';
    }
  });
}

async function until(condition, patience = 30_000) {
  const deadline = performance.now() + patience;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${patience} ms passed without ${condition}`);
    // Files tell nobody that they grow.
    await wait(20);
  }
}

test('files rotate, a worker is killed in the midst of its lines, the cluster stops: no line is torn, lost or doubled', async (t) => {
  const file = path.join(folder(t), 'logs', 'drover.log');
  const logging = { file, logRotation: true, maxLogSize: '256KB', maxLogFiles: 10_000 };
  const cluster = program(t, numbered, { given: { port: await freePort(), config: { logging }, count: 0 } });
  await cluster.until(/the cluster is ready/);
  await until(() => fs.readdirSync(path.dirname(file)).length > 4);
  // What is being written may end in half a line.
  const [, victim] = filesOf(file).join('').match(/"msg":"LINE (\d+) /);
  process.kill(Number(victim), 'SIGKILL');
  const replacements = () => [...filesOf(file).join('').matchAll(/"event":"worker:ready"/g)].length;
  await until(() => replacements() === 3);
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  const files = filesOf(file);
  for (const text of files) {
    assert.ok(text.length <= 256 * 1024 && text.endsWith('\n'));
  }
  const lines = messages(files.join(''));
  const { counts, ends } = assertWhole(lines);
  assert.equal(counts.size, 3);
  assert.ok(counts.get(victim) > 0 && !ends.has(victim));
  assert.equal(ends.size, 2);
  const events = linesOf(files.join(''));
  assert.ok(events.some(({ event, workerPid, signal }) => event === 'worker:exit' && workerPid === Number(victim) && signal === 'SIGKILL'));
  assert.equal(events.at(-1).event, 'cluster:stopped');
  assert.equal(cluster.raw, 'the cluster is ready\n', 'what the primary’s program writes is its own');
});

test('an output that nobody reads blocks only workers that write, and loses nothing', async (t) => {
  const port = await freePort();
  const config = { logging: { enabled: true }, processManagement: { hangTimeout: 0 }, loadBalancing: { dispatch: 'push' } };
  const script = write(t, numbered, { given: { port, config, count: 60_000 } });
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, NODE_ENV: 'production', NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let begun;
  for (const deadline = performance.now() + 30_000; begun === undefined && performance.now() < deadline; ) {
    begun = await request(port, { path: '/write' }).then(({ body }) => body, () => wait(50));
  }
  // More than all that there is room for is to be written: its writer stands still, and the other worker serves.
  let still = 0;
  await until(() => {
    still = fs.readFileSync(`/proc/${begun}/wchan`, 'utf8').includes('pipe') ? still + 1 : 0;
    return still > 25;
  });
  for (let count = 0; count < 10; count += 1) {
    assert.notEqual((await request(port, { path: '/' })).body, begun);
  }
  let text = '';
  child.stdout.setEncoding('utf8');
  const ended = new Promise((resolve) => child.once('close', resolve));
  for await (const chunk of child.stdout) {
    text += chunk;
    if (text.includes(`"END ${begun} 60000"`)) child.kill('SIGTERM');
  }
  await ended;
  const { counts } = assertWhole(messages(text));
  assert.equal(counts.get(begun), 60_000);
});

/** A word for each way to write; at SIGUSR2 the primary writes its own. */
function writing({ port, config }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((asked, response) => {
      const { searchParams } = new URL(asked.url, 'http://localhost');
      for (const line of searchParams.getAll('out')) process.stdout.write(line);
      for (const line of searchParams.getAll('err')) process.stderr.write(line);
      response.end(String(process.pid));
    }),
    cluster: { enabled: true, config: { workers: 1, monitoring: { enabled: false }, ...config } },
  });
  if (app.isWorker) {
    process.on('disconnect', () => console.log('the primary is gone'));
    app.onShutdown(() => console.error('the last words'));
  } else {
    process.on('SIGUSR2', () => process.exit(7));
  }
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

async function saying(t, { config, env } = {}) {
  const port = await freePort();
  const cluster = program(t, writing, { given: { port, config }, env });
  await cluster.until(/the cluster is ready/);
  const say = (parameters) => request(port, { path: `/?${new URLSearchParams(parameters)}` });
  return { cluster, say };
}

test('a plain line is wrapped, a JSON line keeps its fields and gets what it lacks', async (t) => {
  const { cluster, say } = await saying(t);
  const { body: pid } = await say({ out: 'hello "you"\n', err: 'no\n' });
  await say({ out: `${JSON.stringify({ level: 40, msg: 'mine', user: 7, worker: 'own' })}\n` });
  await say({ out: 'without an end' });
  cluster.signal('SIGTERM');
  await cluster.exit;
  await cluster.event('cluster:stopped');
  const lines = linesOf(cluster.raw);
  const of = (msg) => lines.find((line) => line.msg === msg);
  const { hostname } = of('hello "you"');
  assert.ok(hostname.length > 0);
  const common = { pid: Number(pid), hostname, env: 'production', worker: '0' };
  assert.deepEqual({ ...of('hello "you"'), time: 0 }, { level: 30, time: 0, ...common, msg: 'hello "you"' });
  assert.equal(of('no').level, 50);
  assert.deepEqual({ ...of('mine'), time: 0 }, { level: 40, msg: 'mine', user: 7, ...common, worker: 'own', time: 0 });
  assert.equal(of('without an end').worker, '0');
  assert.ok(lines.indexOf(of('without an end')) < lines.findIndex(({ event }) => event === 'worker:exit'));
});

test('the format pretty writes lines for people', async (t) => {
  const { cluster, say } = await saying(t, { env: { NODE_ENV: 'development' } });
  await say({ out: `${JSON.stringify({ level: 40, msg: 'mine', user: 7 })}\n`, err: 'no\n' });
  await cluster.until(/mine/);
  assert.match(cluster.raw, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[WARN\] \[0\] mine \{"user":7\}$/m);
  assert.match(cluster.raw, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[INFO\] Worker 0 is ready/m);
});

test('includeWorkerLogs: false leaves the workers the primary’s own streams', async (t) => {
  const { cluster, say } = await saying(t, { config: { logging: { includeWorkerLogs: false } } });
  await say({ out: 'as it is\n', err: 'as it was\n' });
  await cluster.until(/as it was/);
  assert.match(cluster.raw, /^as it is$/m);
  assert.match(cluster.stderr, /^as it was$/m);
});

test('workers that outlive their primary write to its streams', async (t) => {
  for (const signal of ['SIGKILL', 'SIGUSR2']) {
    const { cluster } = await saying(t);
    cluster.signal(signal);
    await cluster.exit;
    await cluster.until(/the primary is gone/);
    await cluster.until(/the last words/);
    await cluster.gone();
  }
});

test('logging.level and logging.components say which of drover’s lines are written', async (t) => {
  const logging = { level: 'warn', components: { workers: 'debug' } };
  const { cluster } = await saying(t, { config: { logging } });
  cluster.signal('SIGTERM');
  await cluster.exit;
  await cluster.event('worker:started', { worker: '0' });
  await cluster.event('worker:exit', { worker: '0', reason: 'stopped' });
  assert.deepEqual([...cluster.events('cluster:starting'), ...cluster.events('cluster:started')], []);
});

test('an unknown component is refused with a suggestion', async (t) => {
  const port = await freePort();
  const refused = program(t, writing, { given: { port, config: { logging: { components: { dispach: 'warn' } } } } });
  assert.equal((await refused.exit).code, 1);
  await refused.until(/logging\.components: .*"dispach" is no component; did you mean dispatch\?/);
});

test('maxRate: lines above it are dropped, counted and reported', async (t) => {
  const { cluster, say } = await saying(t, { config: { logging: { maxRate: 10 } } });
  await say({ out: 'one of many\n'.repeat(500) });
  const { lines, msg } = await cluster.event('log:dropped', { worker: '0' });
  assert.match(msg, new RegExp(`logging\\.maxRate allows: ${lines} lines were dropped$`));
  assert.equal([...cluster.raw.matchAll(/"one of many"/g)].length + lines, 500);
});

test('if the file cannot be written lines go to standard output, and none is lost', async (t) => {
  const full = await saying(t, { config: { logging: { file: '/dev/full' } } });
  await full.cluster.until(/\/dev\/full: No space left on device.*Log lines go to standard output/);
  await full.say({ out: 'to be read\n' });
  await full.cluster.until(/to be read/);
  const place = path.join(folder(t), 'logs');
  const { cluster, say } = await saying(t, { config: { logging: { file: path.join(place, 'drover.log') } } });
  fs.rmSync(place, { recursive: true });
  // It is missed within a second.
  for (let count = 0; !cluster.raw.includes('No such file'); count += 1) {
    await say({ out: `line ${count}\n` });
    await wait(20);
  }
  fs.mkdirSync(place);
  for (let count = 0; !fs.existsSync(path.join(place, 'drover.log')); count += 1) {
    await say({ out: `later ${count}\n` });
    await wait(20);
  }
});

test('a file that cannot be made is an error that names it', async (t) => {
  const port = await freePort();
  const refused = program(t, writing, { given: { port, config: { logging: { file: '/proc/no/drover.log' } } } });
  assert.equal((await refused.exit).code, 1);
  await refused.until(/logging\.file|\/proc\/no/);
});

test('a file that cannot be made is an error of the start that names it', async (t) => {
  const port = await freePort();
  const refused = program(t, writing, { given: { port, config: { logging: { file: '/proc/nowhere/app.log' } } } });
  assert.equal((await refused.exit).code, 1);
  await refused.until(/logging\.file: \/proc\/nowhere\/app\.log cannot be written: No such file or directory/);
});

test('a file that is moved away is ended, and a new one begins under its name', async (t) => {
  const file = path.join(folder(t), 'app.log');
  const { cluster, say } = await saying(t, { config: { logging: { file } } });
  await say({ out: 'before\n' });
  await until(() => fs.readFileSync(file, 'utf8').includes('before'));
  fs.renameSync(file, `${file}.moved`);
  const read = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
  for (let at = 0; !read().includes('after'); at += 1) await say({ out: `after ${at}\n` });
  cluster.signal('SIGTERM');
  await cluster.exit;
  const all = fs.readFileSync(`${file}.moved`, 'utf8') + read();
  const numbers = messages(all).flatMap((text) => text.match(/^after (\d+)$/)?.[1] ?? []).map(Number);
  assert.deepEqual(numbers, numbers.map((_, at) => at), 'each once and in order');
});
