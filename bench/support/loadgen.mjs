// Builds and runs the load generator. See bench/loadgen/src/main.rs for its modes.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';

const require = createRequire(import.meta.url);
const { root } = require('../../scripts/support/child');
const { requireToolchain } = require('../../scripts/support/toolchain');

const target = path.join(root, 'target', 'loadgen');
export const loadgenBinary = path.join(target, 'release', 'loadgen');

/** Runs a build step; what it says goes to standard error, because the last line of the other is a figure. */
async function step(command, args, env) {
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', process.stderr, process.stderr] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}`);
}

/** Brings the addon and the load generator up to date. */
export async function build() {
  await step(process.execPath, [path.join('scripts', 'build.js')], process.env);
  const manifest = path.join('bench', 'loadgen', 'Cargo.toml');
  const options = ['--release', '--locked', '--quiet', '--manifest-path', manifest, '--target-dir', target];
  await step('cargo', ['build', ...options], requireToolchain());
}

/** Runs one mode against a port of this machine; `options` become `--name value`. Resolves to its report. */
export async function load(mode, port, options) {
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { stdout } = await promisify(execFile)(loadgenBinary, [mode, `127.0.0.1:${port}`, ...flags]);
  return JSON.parse(stdout);
}
