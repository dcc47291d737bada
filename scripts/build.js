'use strict';

// Builds the addon: node scripts/build.js [--debug] [--check] [--force]
//
//   --debug  without optimisation: quick to build, slow to run
//   --check  writes the generated loader and its types to a temporary folder and fails when the committed
//            ones differ
//   --force  builds although nothing changed

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { endChildrenOnSignals, root, run } = require('./support/child');
const { fingerprint, isCurrent, remember } = require('./support/fingerprint');
const { install } = require('./support/install');
const { Trouble, duration, headline, main, say } = require('./support/terminal');
const { requireToolchain } = require('./support/toolchain');

const generated = ['binding.js', 'binding.d.ts'];

/** Runs the napi CLI. `outputDir` receives the addon and the generated files. */
async function napiBuild(profile, outputDir) {
  const env = requireToolchain();
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

async function build({ profile = 'release', force = false } = {}) {
  if (!force && isCurrent(profile)) {
    say(`The addon (${profile}) is up to date.`);
    return;
  }
  headline(`building the addon (${profile}; the first time takes a minute or two, later ones seconds)`);
  const started = performance.now();
  const source = fingerprint(profile);
  const staging = path.join(root, 'target', 'addon');
  fs.rmSync(staging, { recursive: true, force: true });
  await napiBuild(profile, staging);
  // Renamed, never overwritten: a server that runs keeps the file it has mapped.
  for (const name of fs.readdirSync(staging)) fs.renameSync(path.join(staging, name), path.join(root, name));
  remember(source);
  say(`Built in ${duration(performance.now() - started)}.`);
}

/** The names of the generated files whose committed text is not what the sources generate now. */
async function staleFiles(profile) {
  const fresh = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-binding-'));
  try {
    await napiBuild(profile, fresh);
    const read = (folder, name) => {
      const file = path.join(folder, name);
      return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : null;
    };
    return generated.filter((name) => read(fresh, name) !== read(root, name));
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

async function check(profile) {
  const stale = await staleFiles(profile);
  if (stale.length > 0) {
    throw new Trouble(
      `${stale.join(' and ')}: not what src/bindings generates. Run \`npm run build\` and commit the result.`,
    );
  }
  say(`${generated.join(' and ')} are what src/bindings generates.`);
}

if (require.main === module) {
  endChildrenOnSignals();
  main(async () => {
    const profile = process.argv.includes('--debug') ? 'debug' : 'release';
    await install();
    if (process.argv.includes('--check')) await check(profile);
    else await build({ profile, force: process.argv.includes('--force') });
    return 0;
  });
}

module.exports = { build };
