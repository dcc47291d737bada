'use strict';

// Programs in TypeScript, and command lines that run programs, as `exec`: what can be a worker is one, everything else is
// refused before anything is started, with what to do instead.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { findNode } = require('./helpers/nodes');
const { packages } = require('./helpers/packages');
const { folder, write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');

const APP = `
  import http from 'node:http';
  const says: string = 'typed';
  http.createServer((_: http.IncomingMessage, response: http.ServerResponse) => response.end(says))
    .listen(Number(process.env.PORT), '127.0.0.1');`;

/** A primary that is an ES module and names its workers' program beside it. */
const PRIMARY = `
  import { ClusterManager } from 'drover';
  const { exec, ...config } = JSON.parse(process.env.CLUSTER_CONFIG);
  const manager = new ClusterManager({ workers: 1, exec: new URL(exec, import.meta.url), ...config });
  manager.start().then(() => console.log('STARTED'), ({ code, message }) => console.log('REJECTED', code, message));`;

/** A folder with the primary and the program, and with packages if a test needs some. */
async function place(t, versions) {
  const made = path.join(folder(t), 'app');
  fs.mkdirSync(made);
  fs.writeFileSync(path.join(made, 'primary.mjs'), PRIMARY);
  fs.writeFileSync(path.join(made, 'app.ts'), APP);
  fs.writeFileSync(path.join(made, 'package.json'), '{ "type": "module" }');
  if (versions !== undefined) {
    const installed = await packages(t, versions);
    if (installed === null) return null;
    fs.symlinkSync(path.join(installed, 'node_modules'), path.join(made, 'node_modules'));
  }
  return made;
}

function start(t, made, config, { node, env } = {}) {
  return run(t, path.join(made, 'primary.mjs'), { node, cwd: made, env: { CLUSTER_CONFIG: JSON.stringify(config), ...env } });
}

for (const version of ['22.17.1', 22, 24, 26]) {
  test(`exec: 'app.ts' serves on Node.js ${version}, which leaves the types out`, async (t) => {
    const port = await freePort();
    const { path: node } = await findNode(version);
    const cluster = start(t, await place(t), { exec: './app.ts' }, { node, env: { PORT: String(port) } });
    await cluster.until(/STARTED/);
    assert.equal((await request(port)).body, 'typed');
    assert.equal((await cluster.stop()).code, 0, cluster.output);
  });
}

test("exec: 'app.ts' on Node.js 20 is refused with the runner that would do it, and served with it", async (t) => {
  const made = await place(t, { tsx: '4.23.15' });
  if (made === null) return;
  const { path: node } = await findNode(20);
  const refused = start(t, made, { exec: './app.ts' }, { node });
  const [, message] = await refused.until(/REJECTED NO_SCRIPT (.*)/);
  assert.match(message, /execArgv: \['--import', 'tsx'\]/);
  assert.equal((await refused.exit).code, 1);
  assert.equal(refused.output.trim().split('\n').length, 1, refused.output);
  const port = await freePort();
  const cluster = start(t, made, { exec: './app.ts', execArgv: ['--import', 'tsx'] }, { node, env: { PORT: String(port) } });
  await cluster.until(/STARTED/);
  assert.equal((await request(port)).body, 'typed');
  assert.equal((await cluster.stop()).code, 0, cluster.output);
});

/** A program that makes its own cluster, as an ES module or in CommonJS. */
const whole = (load) => `${load}
  const app = createServer({ cluster: { enabled: true, config: { workers: 1 } } });
  app.get('/', (_: any, response: any) => response.send('typed'));
  app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('STARTED'));`;

/** Makes a folder's modules CommonJS, as ts-node runs them. */
function inCommonJs(made) {
  const compilerOptions = { module: 'commonjs', moduleResolution: 'node', esModuleInterop: true };
  fs.writeFileSync(path.join(made, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  fs.writeFileSync(path.join(made, 'package.json'), '{ "type": "commonjs" }');
}

const TS_NODE = { 'ts-node': '10.9.2', typescript: '5.9.3', '@types/node': '22.20.7' };

/** How a primary is run by a runner: packages, the arguments of node before the program, its first line. */
const ways = {
  'node --import tsx': { versions: { tsx: '4.23.15' }, before: ['--import', 'tsx'], load: "import { createServer } from 'drover';" },
  tsx: { versions: { tsx: '4.23.15' }, before: ['node_modules/tsx/dist/cli.mjs'], load: "import { createServer } from 'drover';" },
  'ts-node': { versions: TS_NODE, before: ['node_modules/ts-node/dist/bin.js', '--transpile-only'], load: "const { createServer } = require('drover');", isCommonJs: true },
};

for (const [name, { versions, before, load, isCommonJs }] of Object.entries(ways)) {
  test(`a primary that ${name} runs has workers that it runs too`, async (t) => {
    const made = await place(t, versions);
    if (made === null) return;
    if (isCommonJs) inCommonJs(made);
    fs.writeFileSync(path.join(made, 'whole.ts'), whole(load));
    const port = await freePort();
    const cluster = run(t, 'whole.ts', { execArgv: before, cwd: made, env: { PORT: String(port) } });
    await cluster.until(/STARTED/);
    assert.equal((await request(port)).body, 'typed');
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
    assert.doesNotMatch(cluster.output, /left to the program's own handler/);
  });
}

test('a command line that runs the program in its own process is a worker: ts-node', async (t) => {
  const made = await place(t, TS_NODE);
  if (made === null) return;
  inCommonJs(made);
  const port = await freePort();
  const exec = path.join(made, 'node_modules/ts-node/dist/bin.js');
  const cluster = start(t, made, { exec, args: ['--transpile-only', 'app.ts'] }, { env: { PORT: String(port) } });
  await cluster.until(/STARTED/);
  assert.equal((await request(port)).body, 'typed');
  assert.equal((await cluster.stop()).code, 0, cluster.output);
});

/** A stand-in for Next.js: `start` serves in its own process and ends at SIGTERM in order, `dev` in a child. */
function withNext(made) {
  const place = path.join(made, 'node_modules', 'next');
  const file = path.join(place, 'dist', 'bin', 'next');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(path.join(place, 'package.json'), JSON.stringify({ name: 'next', bin: { next: './dist/bin/next' } }));
  fs.writeFileSync(file, `#!/usr/bin/env node
    const [command, ...options] = process.argv.slice(2);
    if (command !== 'start') require('node:child_process').fork(__filename, ['start', ...options]);
    else {
      const port = Number(options[options.indexOf('--port') + 1]);
      const server = require('node:http').createServer((_, response) => response.end('by ' + process.pid)).listen(port, '127.0.0.1');
      process.on('SIGTERM', () => server.close(() => {
        console.log('CLEANED', process.pid);
        process.exit(143);
      }));
    }`, { mode: 0o755 });
  // As npm links it.
  const link = path.join(made, 'node_modules', '.bin', 'next');
  fs.mkdirSync(path.dirname(link), { recursive: true });
  fs.symlinkSync('../next/dist/bin/next', link);
  return { file, link };
}

for (const how of ['file', 'link']) {
  test(`next start is a worker: exec is the ${how} of its command line`, async (t) => {
    const made = await place(t);
    const port = await freePort();
    const cluster = start(t, made, { exec: withNext(made)[how], args: ['start', '--port', String(port)] });
    await cluster.until(/STARTED/);
    const pid = (await request(port)).body.slice('by '.length);
    assert.deepEqual(cluster.workers(), [Number(pid)]);
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    assert.match(cluster.stdout, new RegExp(`CLEANED ${pid}`));
    await cluster.gone();
  });
}

for (const args of [['dev'], []]) {
  test(`next ${args} is refused at once, with what to do`, async (t) => {
    const made = await place(t);
    const cluster = start(t, made, { exec: withNext(made).link, args });
    const [, message] = await cluster.until(/REJECTED NO_SCRIPT (.*)/);
    assert.match(message, /the command line of next, .* in a child: .* Let args be \['start'\]/);
    await cluster.gone();
  });
}

/** Files of command lines that serve in a child, in the folder of the test or of this package. */
const runners = {
  tsx: { versions: { tsx: '4.23.15' }, file: 'tsx/dist/cli.mjs', args: ['app.ts'], says: isBun ? /Let exec be 'app\.ts', which Bun runs itself/ : /Let exec be 'app\.ts', with execArgv: \['--import', 'tsx'\]/ },
  nodemon: { own: 'nodemon/bin/nodemon.js', args: ['app.js'], says: /run the program that makes the cluster under nodemon/ },
};

for (const [name, { versions, file, own, args, says }] of Object.entries(runners)) {
  test(`${name}'s command line is refused at once, with what to do`, async (t) => {
    const made = await place(t, versions);
    if (made === null) return;
    const exec = own === undefined ? path.join(made, 'node_modules', file) : require.resolve(own);
    const cluster = start(t, made, { exec, args });
    const [, message] = await cluster.until(/REJECTED NO_SCRIPT (.*)/);
    assert.match(message, new RegExp(`the command line of ${name}`));
    assert.match(message, says);
    assert.equal(cluster.output.trim().split('\n').length, 1, cluster.output);
    await cluster.gone();
  });
}

/** As a runner does: the program in a child, which no signal ends. */
function running() {
  const child = "process.on('SIGTERM', () => {}); setInterval(() => {}, 60_000); console.log('CHILD')";
  require('node:child_process').spawn(process.execPath, ['-e', child], { stdio: 'inherit' });
  process.on('SIGTERM', () => {});
}

test('what a worker has started is gone with it at the second signal', async (t) => {
  const cluster = start(t, await place(t), { exec: write(t, running), processManagement: { ready: 'boot' } });
  await cluster.until(/CHILD/);
  await cluster.until(/STARTED/);
  assert.equal(cluster.others().length, 2);
  cluster.signal('SIGTERM');
  await cluster.event('worker:draining');
  // Sooner it is the same key press.
  await new Promise((resolve) => setTimeout(resolve, 600));
  cluster.signal('SIGTERM');
  assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
  await cluster.gone(5000);
});

test('a worker that waits for a child to serve says which one', async (t) => {
  const config = { exec: write(t, running), processManagement: { startupTimeout: 15_000 } };
  const cluster = start(t, await place(t), config);
  await cluster.until(/does not listen yet; .* It runs a child, and only the worker itself is served for: .*(?:node|bun\S*) -e /);
  cluster.signal('SIGTERM');
  await new Promise((resolve) => setTimeout(resolve, 600));
  cluster.signal('SIGTERM');
  await cluster.exit;
  await cluster.gone(5000);
});
