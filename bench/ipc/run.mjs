// Runs a contender in a process of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Resolves to what bench/ipc/`file` printed, asked for `asked`; on one processor if it is `pinned`. */
export async function run({ file, pinned = false, ...asked }) {
  const program = fileURLToPath(new URL(`./${file}`, import.meta.url));
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production' };
  const command = [process.execPath, program, JSON.stringify(asked)];
  const [first, ...rest] = pinned ? ['taskset', '-c', '0', ...command] : command;
  const child = spawn(first, rest, { env });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (errors += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), 120_000);
  await once(child, 'close');
  clearTimeout(timer);
  const line = output.trim().split('\n').at(-1);
  if (!line?.startsWith('{')) throw new Error(`${file} ended without figures: ${errors.slice(-2000)}`);
  return JSON.parse(line);
}
