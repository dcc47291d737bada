// The processes of a benchmark: starting, waiting until ready, measuring from outside, and ending them.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { once } from 'node:events';

const READY_TIMEOUT = 20_000;
const STOP_TIMEOUT = 10_000;
const MOST_OUTPUT = 8_000;

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
// `exit` is not emitted for a signal that nobody handles.
for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) {
  process.once(signal, () => process.exit(128 + number));
}

/** The environment of a contender: without the caller's variables that would tune it. */
function environment(extra) {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, NODE_ENV: 'production', ...extra };
}

/** A port below the range from which the kernel takes those of clients. */
export async function freePort() {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const probe = net.createServer();
    const bound = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (bound) {
      probe.close();
      await once(probe, 'close');
      return port;
    }
  }
  throw new Error('no free port found in 100 attempts');
}

/**
 * Starts what `contender(port)` describes ({ command, args, env, readyLines, endsWithStdin, timeout }) and resolves
 * when it has printed `ready` as often as it should. Rejects with its own output when it does not.
 */
export async function startServer(contender) {
  const port = await freePort();
  const { command, args, env, readyLines, endsWithStdin, timeout = READY_TIMEOUT } = contender(port);
  const startedAt = performance.now();
  const child = spawn(command, args, { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  const exited = new Promise((resolve) => child.once('exit', resolve)).then(() => running.delete(child));
  await ready(child, readyLines, timeout);

  async function stop() {
    child.stdin.end();
    if (!endsWithStdin) child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), Math.max(STOP_TIMEOUT, timeout / 2));
    await exited;
    clearTimeout(timer);
  }
  return { port, pid: child.pid, stdin: child.stdin, stdout: child.stdout, startedAt, stop };
}

function ready(child, lines, timeout) {
  return new Promise((resolve, reject) => {
    let [output, missing, rest] = ['', lines, ''];
    const timer = setTimeout(() => fail(`not ready after ${timeout} ms`), timeout);
    const fail = (reason) => {
      clearTimeout(timer);
      reject(new Error(`${child.spawnargs.join(' ')}: ${reason}\n${output}`));
    };
    const keep = (text) => (output = (output + text).slice(-MOST_OUTPUT));
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`ended with ${signal ?? code} before it was ready`));
    child.stderr.setEncoding('utf8').on('data', keep);
    child.stdout.setEncoding('utf8').on('data', (text) => {
      keep(text);
      const complete = (rest + text).split('\n');
      rest = complete.pop();
      missing -= complete.filter((line) => line === 'ready').length;
      if (missing <= 0) {
        clearTimeout(timer);
        resolve();
      }
    });
  });
}

/** Processor time of a process in nanoseconds, summed over its threads (schedstat, see proc(5)). */
export function cpuTime(pid) {
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    try {
      return sum + Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch (error) {
      // It ended between the listing and the reading.
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return sum;
      throw error;
    }
  }, 0);
}
