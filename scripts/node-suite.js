'use strict';

// npm run test:node -- FOLDER [--node 20|22|24|26] [--only WORD ...] [--timeout SECONDS]: Node.js's own tests of net,
// http, https, http2, tls and dgram as programs in a worker. FOLDER is the `test` folder of Node's sources (with
// `parallel` and `common`), of a version that matches the Node.js that runs them; it is not part of drover.
//
// Each file runs in one process and in a cluster of one worker, with its `// Flags:` and NODE_ENV=production. A file
// that passes in one process but not in the cluster differs; it is repeated in both, alone, because some tests depend
// on timing. The last line of the output is JSON: passing_on_node, same, differ.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { findNode } = require('../__test__/helpers/nodes');
const { build } = require('./build');
const { install } = require('./support/install');
const { Trouble, duration, main, say } = require('./support/terminal');

const SUBJECTS = /^test-(?:net|http|https|http2|tls|dgram)-.*\.m?js$/;
const launcher = path.join(__dirname, 'support', 'run-in-worker.js');

/** Node's flags that a file asks for. */
function flagsOf(file) {
  const [, flags] = fs.readFileSync(file, 'utf8').match(/^\/\/ Flags: (.*)$/m) ?? [];
  return flags === undefined ? [] : flags.trim().split(/\s+/);
}

/** Running processes, to be ended with this process. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** Runs a command; resolves to whether it exited with 0 in time. */
function passes(command, args, { cwd, env, timeout }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: 'ignore' });
    running.add(child);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
    const settle = (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve(code === 0);
    };
    child.once('error', () => settle(null));
    child.once('exit', settle);
  });
}

/** The two ways to run a file. */
function ways(node, timeout) {
  let number = 0;
  const around = (file) => {
    number += 1;
    // Node's tests use this to separate their temporary files.
    return { cwd: path.dirname(file), env: { ...process.env, NODE_ENV: 'production', TEST_THREAD_ID: `drover-${process.pid}-${number}` }, timeout };
  };
  return {
    alone: (file) => passes(node, [...flagsOf(file), file], around(file)),
    inWorker: (file) => passes(node, [launcher, file, ...flagsOf(file)], around(file)),
  };
}

/** Calls `act` for every item, `width` at a time. */
async function each(items, width, act) {
  const left = [...items];
  const work = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: width }, work));
}

/** Prints the progress every ten seconds. */
function progress(total) {
  const since = performance.now();
  let done = 0;
  const tell = () => say(`${done} of ${total} files after ${duration(performance.now() - since)}`);
  const timer = setInterval(tell, 10_000);
  return { step: () => (done += 1), end: () => clearInterval(timer) };
}

main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      node: { type: 'string', default: process.versions.node.split('.')[0] },
      only: { type: 'string', multiple: true, default: [] },
      timeout: { type: 'string', default: '60' },
    },
  });
  const [given] = positionals;
  const folder = given === undefined ? undefined : path.resolve(given, 'parallel');
  if (folder === undefined || !fs.existsSync(folder) || !fs.existsSync(path.join(folder, '..', 'common'))) {
    throw new Trouble('Name the folder `test` of Node.js’s sources, which has `parallel` and `common`: npm run test:node -- ../node/test');
  }
  await install();
  await build();
  const { path: node, version } = await findNode(Number(values.node));
  const { alone, inWorker } = ways(node, Number(values.timeout) * 1000);
  const isWanted = (name) => values.only.length === 0 || values.only.some((word) => name.includes(word));
  const files = fs.readdirSync(folder).filter((name) => SUBJECTS.test(name) && isWanted(name)).sort();
  say(`${files.length} files of ${folder} on Node.js ${version}`);

  const [passing, suspects] = [[], []];
  const { step, end } = progress(files.length);
  await each(files, os.availableParallelism() + 1, async (name) => {
    const file = path.join(folder, name);
    if (await alone(file)) {
      passing.push(name);
      if (!(await inWorker(file))) suspects.push(name);
    }
    step();
  });
  end();
  const differ = [];
  for (const name of suspects.sort()) {
    const file = path.join(folder, name);
    const once = { alone: await alone(file), inWorker: await inWorker(file) };
    const isSame = once.inWorker || !once.alone;
    say(`${isSame ? 'same when it runs alone' : 'DIFFERS'}: ${name}`);
    if (!isSame) differ.push(name);
  }
  say(JSON.stringify({ node: version, passing_on_node: passing.length, same: passing.length - differ.length, differ }));
  return 0;
});
