'use strict';

// Published packages that single tests need and the others do not: installed by name, in exactly these versions, and
// kept in .cache/packages.

const { execFile } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { skip } = require('./skip');

const run = promisify(execFile);
const cache = path.resolve(__dirname, '..', '..', '.cache', 'packages');

/**
 * A folder whose node_modules has these packages: names with their versions. Null when they cannot be had; the test `t`
 * is skipped then.
 *
 * @param {Record<string, string>} versions
 */
async function packages(t, versions) {
  const wanted = Object.entries(versions).map(([name, version]) => `${name}@${version}`);
  const folder = path.join(cache, createHash('sha256').update(wanted.join(' ')).digest('hex').slice(0, 16));
  const done = path.join(folder, 'installed');
  if (fs.existsSync(done)) return folder;
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  try {
    await run('npm', ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', ...wanted]);
  } catch (error) {
    return skip(t, `${wanted.join(' ')} cannot be installed`, error);
  }
  fs.writeFileSync(done, `${wanted.join('\n')}\n`);
  return folder;
}

module.exports = { packages };
