'use strict';

// Determines whether the addon on disk was built from the sources on disk, by a hash of the contents: modification
// times are wrong after switching branches back and forth.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./child');

const record = path.join(root, 'target', 'drover-build.json');
const loneFiles = ['scripts/build.js', 'Cargo.toml', 'Cargo.lock', 'build.rs', 'rust-toolchain.toml'];

function* sources() {
  yield* loneFiles.map((name) => path.join(root, name)).filter((file) => fs.existsSync(file));
  const entries = fs.readdirSync(path.join(root, 'src'), { recursive: true, withFileTypes: true });
  yield* entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** The parts of package.json that affect the addon or its loader: a new script needs no build. */
function packageParts() {
  const { name, version, napi, devDependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  return { name, version, napi, cli: devDependencies['@napi-rs/cli'] };
}

function fingerprint(profile) {
  const hash = crypto.createHash('sha256');
  hash.update(JSON.stringify([profile, process.platform, process.arch, packageParts()]));
  for (const file of sources()) {
    hash.update(`\0${path.relative(root, file)}\0`);
    hash.update(fs.readFileSync(file));
  }
  return hash.digest('hex');
}

/** The build's output: the addon (name, size and time of each file) and its loader. */
function products() {
  return fs
    .readdirSync(root)
    .filter((name) => /^drover\..*\.node$/.test(name) || name === 'binding.js' || name === 'binding.d.ts')
    .sort()
    .map((name) => {
      const { size, mtimeMs } = fs.statSync(path.join(root, name));
      return { name, size, mtimeMs };
    });
}

function isCurrent(profile) {
  try {
    const last = JSON.parse(fs.readFileSync(record, 'utf8'));
    const built = products();
    return (
      last.fingerprint === fingerprint(profile) &&
      built.some(({ name }) => name.endsWith('.node')) &&
      JSON.stringify(last.products) === JSON.stringify(built)
    );
  } catch {
    // No record, or an unreadable one: treated as never built.
    return false;
  }
}

/** `built` is the fingerprint taken before the build: a file saved meanwhile must cause another build. */
function remember(built) {
  fs.mkdirSync(path.dirname(record), { recursive: true });
  fs.writeFileSync(record, `${JSON.stringify({ fingerprint: built, products: products() }, null, 2)}\n`);
}

module.exports = { fingerprint, isCurrent, remember };
