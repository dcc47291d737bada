'use strict';

// Checks the prerequisites of a build first, so that a missing one is reported in one sentence with its remedy, not at
// the end of compiler output.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Trouble } = require('./terminal');

const cargoHome = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');

function isOnPath(program, searchPath) {
  return searchPath.split(path.delimiter).some((folder) => {
    try {
      fs.accessSync(path.join(folder, program), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The environment in which cargo is found, also in a shell that was opened before rustup installed it. */
function buildEnvironment() {
  const searchPath = process.env.PATH ?? '';
  if (isOnPath('cargo', searchPath)) return { ...process.env };
  return { ...process.env, PATH: [path.join(cargoHome, 'bin'), searchPath].join(path.delimiter) };
}

/** Throws an error that says what is missing; returns the environment for the build. */
function requireToolchain() {
  const env = buildEnvironment();
  if (!isOnPath('cargo', env.PATH)) {
    throw new Trouble(
      [
        "There is no `cargo` here, and drover's core is written in Rust: building it from source needs 1.95 or later.",
        'Get it with',
        "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
        'then run the same command again. Nothing else has to be set up.',
      ].join('\n'),
    );
  }
  if (!['cc', 'gcc', 'clang'].some((compiler) => isOnPath(compiler, env.PATH))) {
    throw new Trouble(
      [
        'There is a `cargo` but no C compiler, and Rust links with one.',
        'Debian, Ubuntu: apt-get install build-essential. Fedora: dnf install gcc. Alpine: apk add build-base.',
        'macOS: xcode-select --install. Then run the same command again.',
      ].join('\n'),
    );
  }
  return env;
}

module.exports = { isOnPath, requireToolchain };
