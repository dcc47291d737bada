// Questions without end while workers are killed: does every promise settle, and does the primary's memory stay flat?

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ratio } from '../support/figures.mjs';

/** Runs the soak of bench/ipc/soaked.js; resolves to the keys of its last line. */
export async function soakMessages({ messages, seconds, say }) {
  const program = fileURLToPath(new URL('./soaked.js', import.meta.url));
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production' };
  const child = spawn(process.execPath, ['--expose-gc', program, String(messages), String(seconds)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let last = null;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) last = JSON.parse(line);
    else say(line);
  }
  if (child.exitCode === null) await once(child, 'exit');
  if (last === null) throw new Error('the soak ended without figures');
  const { settled, unsettled, growth } = last;
  return { soak_messages: settled, soak_unsettled: unsettled, soak_rss_growth: ratio(growth) };
}
