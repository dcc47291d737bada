'use strict';

// Builds the addon: node scripts/build.js [--debug] [--force]
//
//   --debug  without optimisation: quick to build, slow to run
//   --force  builds although nothing changed

const fs = require('node:fs');
const path = require('node:path');
const { endChildrenOnSignals, root, run } = require('./support/child');
const { fingerprint, isCurrent, remember } = require('./support/fingerprint');
const { install } = require('./support/install');
const { Trouble, duration, headline, main, say } = require('./support/terminal');
const { requireToolchain } = require('./support/toolchain');

const generated = ['binding.js', 'binding.d.ts'];

/**
 * Rust flags of a release: functions compiled for speed take in others up to this cost instead of 225. That is 4 % less to
 * download and does not show in what a message or a connection costs (docs/decisions/018-libraries-and-size.md). Cargo.toml
 * has no place for it, and .cargo/config.toml would compile everything anew for the other profiles too.
 */
const RELEASE_FLAGS = '-C llvm-args=-inlinedefault-threshold=100';

/** Runs the napi CLI. `outputDir` receives the addon and the generated files. */
async function napiBuild(profile, outputDir) {
  const env = { ...requireToolchain(), ...(profile === 'release' ? { CARGO_BUILD_RUSTFLAGS: RELEASE_FLAGS } : {}) };
  const cli = path.join(root, 'node_modules', '@napi-rs', 'cli');
  const bin = path.join(cli, JSON.parse(fs.readFileSync(path.join(cli, 'package.json'), 'utf8')).bin.napi);
  const { code, signal } = await run(
    process.execPath,
    [
      bin,
      'build',
      '--platform',
      ...(profile === 'release' ? ['--release'] : []),
      ...['--js', 'binding.js', '--dts', 'binding.d.ts', '--output-dir', outputDir],
    ],
    { env },
  );
  if (code !== 0) {
    throw new Trouble(
      [
        `The addon did not build (${signal ?? `exit code ${code}`}); the compiler's own words are above.`,
        'When it asks for a newer Rust: `rustup update stable`. When it was killed: memory ran out; CARGO_BUILD_JOBS=1 needs less.',
      ].join('\n'),
    );
  }
}

/** The names of the generated files that differ between `staging` and the repository. */
function changed(staging) {
  const read = (folder, name) => {
    const file = path.join(folder, name);
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : null;
  };
  return generated.filter((name) => read(staging, name) !== read(root, name));
}

/** Builds if necessary; resolves to the names of the generated files that were outdated and have been updated. */
async function build({ profile = 'release', force = false } = {}) {
  if (!force && isCurrent(profile)) {
    say(`The addon (${profile}) is up to date.`);
    return [];
  }
  headline(`building the addon (${profile}; the first time takes a minute or two, later ones seconds)`);
  const started = performance.now();
  const source = fingerprint(profile);
  const staging = path.join(root, 'target', 'addon');
  fs.rmSync(staging, { recursive: true, force: true });
  await napiBuild(profile, staging);
  const rewritten = changed(staging);
  // Renamed, never overwritten: a running server keeps the file that it has mapped.
  for (const name of fs.readdirSync(staging)) fs.renameSync(path.join(staging, name), path.join(root, name));
  remember(source);
  say(`Built in ${duration(performance.now() - started)}.`);
  return rewritten;
}

if (require.main === module) {
  endChildrenOnSignals();
  main(async () => {
    const profile = process.argv.includes('--debug') ? 'debug' : 'release';
    await install();
    const rewritten = await build({ profile, force: process.argv.includes('--force') });
    if (rewritten.length > 0) say(`Written anew, to be committed: ${rewritten.join(' and ')}.`);
    return 0;
  });
}

module.exports = { build };
