'use strict';

// What every deploy downloads and keeps. Whoever needs more raises a limit here, with the figures in a decision
// (docs/decisions/018-libraries-and-size.md).

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const MEGABYTE = 1_000_000;

/** Bytes: of the addon as `npm run build` makes it, and of the packed package with one addon in it. */
const MAX_ADDON = 11.4 * MEGABYTE;
const MAX_DOWNLOAD = 5.2 * MEGABYTE;

const root = path.join(__dirname, '..');

test('the addon is no larger than its limit', () => {
  const addons = fs.readdirSync(root).filter((name) => /^drover\..*\.node$/.test(name));
  assert.ok(addons.length > 0, 'there is no addon: npm run build');
  for (const name of addons) {
    const { size } = fs.statSync(path.join(root, name));
    assert.ok(size <= MAX_ADDON, `${name}: ${size} bytes, of ${MAX_ADDON}`);
  }
});

test('what npm downloads is no larger than its limit', () => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' });
  const [{ size, files }] = JSON.parse(packed);
  assert.ok(files.some(({ path: file }) => file.endsWith('.node')), 'the addon is not in the package');
  assert.ok(size <= MAX_DOWNLOAD, `${size} bytes, of ${MAX_DOWNLOAD}`);
});
