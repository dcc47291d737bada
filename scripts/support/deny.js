'use strict';

// Provides cargo-deny: the one on the PATH, or one built once into target/tools.

const fs = require('node:fs');
const path = require('node:path');
const { root, run } = require('./child');
const { Skipped } = require('./steps');
const { say } = require('./terminal');
const { isOnPath } = require('./toolchain');

const tools = path.join(root, 'target', 'tools');

/** Resolves to the environment in which `cargo deny` is found. */
async function withCargoDeny(env) {
  if (isOnPath('cargo-deny', env.PATH)) return env;
  const bin = path.join(tools, 'bin');
  if (!fs.existsSync(path.join(bin, 'cargo-deny'))) {
    say('cargo-deny is not here: building it into target/tools, once (a minute or two).');
    // Not optimised: it runs for a second, and an optimised build takes minutes.
    const { code } = await run('cargo', ['install', 'cargo-deny', '--locked', '--root', tools, '--profile', 'dev'], {
      env: { ...env, CARGO_TARGET_DIR: path.join(tools, 'build'), CARGO_PROFILE_DEV_DEBUG: '0' },
    });
    if (code !== 0) throw new Skipped('cargo-deny could not be installed, so licences and sources are unchecked.');
    fs.rmSync(path.join(tools, 'build'), { recursive: true, force: true });
  }
  return { ...env, PATH: [bin, env.PATH].join(path.delimiter) };
}

module.exports = { withCargoDeny };
